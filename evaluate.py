"""Measure, watch or record a trained agent:  python evaluate.py RUN --episodes 256"""

import sys

try:
    from plasticrl.agents.command_line import evaluate_main
except ModuleNotFoundError as error:
    print(f"error: {error}; run `pip install -c constraints.txt -e .` first", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(evaluate_main())
