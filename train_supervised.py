"""Train on a supervised task:  python train_supervised.py patterns-quickstart"""

import sys

try:
    from plasticrl.commands import run_command
except ModuleNotFoundError as error:
    how = "use .venv/bin/python, which `make watch` makes, or `pip install -c constraints.txt -e .`"
    print(f"error: {error} for {sys.executable}: {how}", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(run_command("train"))
