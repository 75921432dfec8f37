"""Train on a supervised task:  python train_supervised.py patterns-quickstart"""

import sys

try:
    from plasticrl.agents.training.presets import PRESETS
    from plasticrl.runs import Elsewhere
    from plasticrl.tasks.command_line import train_main
except ModuleNotFoundError as error:
    how = "use .venv/bin/python, which `make watch` makes, or `pip install -c constraints.txt -e .`"
    print(f"error: {error} for {sys.executable}: {how}", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(train_main(elsewhere=Elsewhere("reinforcement-learning", "train_rl.py", PRESETS)))
