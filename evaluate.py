"""Measure, watch or record a run, or plot several:  python evaluate.py RUN"""

import sys

try:
    from plasticrl.agents.command_line import evaluate_main as evaluate_agent
    from plasticrl.agents.command_line import is_plot
    from plasticrl.tasks.command_line import evaluate_main as evaluate_task
    from plasticrl.tasks.command_line import is_task
except ModuleNotFoundError as error:
    how = "use .venv/bin/python, which `make watch` makes, or `pip install -c constraints.txt -e .`"
    print(f"error: {error} for {sys.executable}: {how}", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    arguments = sys.argv[1:]
    of_task = is_task(arguments) and not is_plot(arguments)
    sys.exit(evaluate_task(arguments) if of_task else evaluate_agent(arguments))
