"""Measure, watch or record a trained agent:  python evaluate.py RUN --episodes 256"""

import sys

try:
    from plasticrl.agents.command_line import evaluate_main
except ModuleNotFoundError as error:
    how = "use .venv/bin/python, which `make demo` makes, or `pip install -c constraints.txt -e .`"
    print(f"error: {error} for {sys.executable}: {how}", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(evaluate_main())
