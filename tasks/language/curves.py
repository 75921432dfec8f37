"""Draw the validation perplexity of several runs: python -m plasticrl.tasks.language.curves --help

One line for each net, the mean of its runs, in a band from the least to the greatest of them.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from plasticrl.runs import RunDirectory, read_metrics
from plasticrl.tasks.drawing import DPI

METRIC = "valid/perplexity"
Curves = dict[str, list[list[tuple[int, float]]]]
"""Of every net, the curves of its runs: training words and perplexity."""


def curves(folders: Sequence[Path]) -> Curves:
    """The curves of runs of this task.

    Raises:
        RunError: for a folder that holds no run, or one that did not end.
    """
    found: Curves = defaultdict(list)
    for folder in folders:
        run = RunDirectory.open(folder)
        record, rows = run.read_evaluation(), read_metrics(run.metrics_path)
        n_steps = run.config["bptt_length"]
        for one in (record, *record["controls"]):
            key = METRIC if one is record else f"{one['net']}/{METRIC}"
            found[one["net"]].append(
                [(row["step"] * n_steps, row[key]) for row in rows if key in row]
            )
    return found


def draw(every: Curves) -> Figure:
    """One picture of all nets."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, runs in every.items():
        words = [at for at, _ in runs[0]]
        values = np.array([[value for _, value in run] for run in runs])
        (line,) = axes.plot(words, values.mean(axis=0), marker=".", label=f"{name} ({len(runs)})")
        axes.fill_between(
            words, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.2
        )
    axes.set(xlabel="training words", ylabel="validation perplexity", yscale="log")
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.yaxis.set_minor_formatter("{x:.0f}")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3, which="both")
    axes.legend(title="net (runs)")
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Validation perplexity of several runs.")
    parser.add_argument("run", nargs="+", type=Path, help="folder of a run")
    parser.add_argument("--to", required=True, type=Path, help="the picture's file")
    arguments = parser.parse_args()
    draw(curves(arguments.run)).savefig(arguments.to, dpi=DPI)
