"""Train a plastic agent:  python train_rl.py maze-quickstart"""

import sys

try:
    from plasticrl.agents.command_line import train_main
    from plasticrl.runs import Elsewhere
    from plasticrl.tasks.registry import PRESETS
except ModuleNotFoundError as error:
    how = "use .venv/bin/python, which `make watch` makes, or `pip install -c constraints.txt -e .`"
    print(f"error: {error} for {sys.executable}: {how}", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(train_main(elsewhere=Elsewhere("supervised", "train_supervised.py", PRESETS)))
