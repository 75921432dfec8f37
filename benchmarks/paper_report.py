"""The report of an experiment of ``benchmarks.papers``: table, numbers and picture."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from benchmarks.machine import describe
from benchmarks.report import Row, markdown_table
from plasticrl.agents.watching import EPISODES, SEED
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.evaluation import evaluate
from plasticrl.commands.trials import Trial
from plasticrl.runs import RunError, Series, atomic_write, read_metrics, read_series

N_POINTS = 60
"""Points of a learning curve."""
SIGNIFICANT = 0.05
PANEL_INCHES = (4.6, 4.6)
REFERENCE_COLOR = "#24292f"
COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colors for color-blind readers too, of Okabe & Ito."""


class Panel(NamedTuple):
    """A part of the picture: a net, and nets that are compared with it."""

    title: str
    reference: str
    labels: tuple[str, ...]


class Score(NamedTuple):
    """What is compared."""

    label: str
    metric: str
    """The metric of the learning curves."""
    evaluated: str
    """The entry of ``evaluation.json``, which also exists with the prefix ``ablated_``."""
    decimals: int


PER_EPISODE = Score("reward per episode", "rollout/ep_rew_mean", "reward_mean", 1)
PER_TRIAL = Score("reward per trial", "curriculum/reward", "reward_per_trial", 3)


class Subject(NamedTuple):
    """What is reported."""

    title: str
    panels: Sequence[Panel]
    score: Score
    best: float | None
    """A score that the picture shows as a line."""
    reach: float | None
    """A score; the table says after how many steps each run reached it."""


class Source(NamedTuple):
    """Where the runs come from."""

    command: str
    commits: Sequence[str]


class Curves(NamedTuple):
    """The learning curves of a net."""

    steps: NDArray[np.float64]
    """(N_POINTS,)."""
    runs: NDArray[np.float64]
    """(seeds, N_POINTS)."""

    def quartiles(self) -> NDArray[np.float64]:
        """Lower quartile, median and upper quartile over the seeds, (3, N_POINTS)."""
        values: NDArray[np.float64] = np.percentile(self.runs, [25, 50, 75], axis=0)
        return values


def write_report(
    stem: Path, subject: Subject, runs: dict[str, list[Trial]], source: Source
) -> None:
    """Evaluate the runs that have finished, and write ``stem``.json, .md and .png.

    Args:
        runs: the runs of each net, by its label.
    """
    finished = {label: [t for t in trials if t.is_finished] for label, trials in runs.items()}
    finished = {label: trials for label, trials in finished.items() if trials}
    panels = [
        panel._replace(labels=tuple(label for label in panel.labels if label in finished))
        for panel in subject.panels
        if panel.reference in finished
    ]
    score = subject.score
    steps, curves = read_curves(finished, score.metric)
    nets = {label: measured(trials, score, subject.reach) for label, trials in finished.items()}
    pairs = {(p.reference, label): None for p in panels for label in p.labels}
    unrounded = {label: one.pop("unrounded") for label, one in nets.items()}
    report = {
        "title": subject.title,
        "score": score.label,
        "decimals": score.decimals,
        "reach": subject.reach,
        "command": source.command,
        "commits": list(source.commits),
        "machine": describe(threads=1),
        "core_hours": round(sum(_seconds(t) for ts in finished.values() for t in ts) / 3600, 2),
        "nets": nets,
        "pairs": [_pair(*pair, unrounded, curves) for pair in pairs],
        "steps": [round(step) for step in steps.tolist()],
        "curves": {
            label: np.round(one.quartiles(), score.decimals).tolist()
            for label, one in curves.items()
        },
    }
    stem.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, ensure_ascii=False) + "\n"
    atomic_write(stem.with_suffix(".json"), text.encode())
    atomic_write(stem.with_suffix(".md"), markdown(report, stem.name).encode())
    draw(curves, panels, score.label, subject.best).savefig(stem.with_suffix(".png"), dpi=130)


def read_curves(
    finished: dict[str, list[Trial]], metric: str
) -> tuple[NDArray[np.float64], dict[str, Curves]]:
    """The learning curves of the nets, interpolated linearly at the same steps.

    Returns:
        The steps (N_POINTS,) of the range that all runs have, and the curves by label.
    """
    series = {
        label: [_series(trial, metric) for trial in trials] for label, trials in finished.items()
    }
    every = [one for listed in series.values() for one in listed]
    first, last = max(one.steps[0] for one in every), min(one.steps[-1] for one in every)
    steps = np.linspace(first, last, N_POINTS)
    return steps, {
        label: Curves(steps, np.array([np.interp(steps, one.steps, one.values) for one in listed]))
        for label, listed in series.items()
    }


def _series(trial: Trial, metric: str) -> Series:
    return read_series(trial.path / "metrics.jsonl", metric)[""]


def rank_sum_p(one: Sequence[float], other: Sequence[float]) -> float:
    """The two-sided p of Wilcoxon's rank-sum test; it is exact for few values without ties."""
    return float(mannwhitneyu(one, other).pvalue)


def measured(trials: Sequence[Trial], score: Score, reach: float | None) -> dict[str, Any]:
    """What is known of a net after its training: sizes, the score of each seed, and time."""
    results = [_evaluation(trial) for trial in trials]
    rewards = [float(one[score.evaluated]) for one in results]
    ablated = [float(one[f"ablated_{score.evaluated}"]) for one in results if one["is_plastic"]]
    low, median, high = np.percentile(rewards, [25, 50, 75])
    digits = score.decimals
    return {
        "units": results[0]["units"],
        "parameters": results[0]["parameters"],
        "seeds": [trial.seed for trial in trials],
        "unrounded": rewards,
        "rewards": [round(reward, digits) for reward in rewards],
        "lower_quartile": round(float(low), digits),
        "median": round(float(median), digits),
        "upper_quartile": round(float(high), digits),
        "ablated": [round(reward, digits) for reward in ablated],
        "ablated_median": round(float(np.median(ablated)), digits) if ablated else None,
        "steps_to_reach": None
        if reach is None
        else [steps_to_reach(_series(trial, score.metric), reach) for trial in trials],
        "seconds": round(float(np.median([_seconds(trial) for trial in trials]))),
    }


def steps_to_reach(series: Series, reach: float) -> int | None:
    """The steps after which a learning curve is first at ``reach``; None if it never is."""
    reached = np.flatnonzero(series.values >= reach)
    return int(series.steps[reached[0]]) if len(reached) else None


def _evaluation(trial: Trial) -> dict[str, Any]:
    """The evaluation of a run, which is kept in its folder, and its net's sizes."""
    agent = TrainedAgent.load(trial.path)
    expected = {"episodes": EPISODES, "seed": SEED, "deterministic": False}
    try:
        result = agent.run.read_evaluation()
    except RunError:
        result = {}
    known = {**expected, "n_timesteps": agent.n_timesteps}.items() <= result.items()
    if not known or ("ablated_reward_mean" in result) != agent.is_plastic:
        result = evaluate(agent, EPISODES, SEED, ablate_plasticity=agent.is_plastic)
        agent.run.write_evaluation(result)
    return result | {
        "is_plastic": agent.is_plastic,
        "units": agent.policy.core.hidden_size,
        "parameters": sum(weight.numel() for weight in agent.policy.parameters()),
    }


def _seconds(trial: Trial) -> float:
    """The time of a run's training, by its own clock."""
    return float(read_metrics(trial.path / "metrics.jsonl")[-1]["time/time_elapsed"])


def _pair(
    reference: str, label: str, scores: dict[str, list[float]], curves: dict[str, Curves]
) -> dict[str, Any]:
    """A net beside the reference: the difference of their medians, and p, at the end and before."""
    one, other = scores[label], scores[reference]
    return {
        "net": label,
        "reference": reference,
        "difference": round(float(np.median(one) - np.median(other)), 3),
        "p": round(rank_sum_p(one, other), 4),
        "p_by_step": [round(p, 4) for p in _p_by_step(curves[label], curves[reference])],
    }


def _p_by_step(one: Curves, other: Curves) -> list[float]:
    return [rank_sum_p(*pair) for pair in zip(one.runs.T, other.runs.T, strict=True)]


def markdown(report: dict[str, Any], name: str) -> str:
    """The report as a page."""
    digits, reach = report["decimals"], report["reach"]
    machine = report["machine"]
    nets = [_row(label, one, digits, reach) for label, one in report["nets"].items()]
    pairs: list[Row] = [
        {
            "net": one["net"],
            "compared with": one["reference"],
            "difference of the medians": f"{one['difference']:+.{digits}f}",
            "p": f"{one['p']:.4f}",
        }
        for one in report["pairs"]
    ]
    said = (
        f"# {report['title']}",
        f"`{report['command']}`",
        f"The score is the {report['score']}, of {EPISODES} episodes that are not in the training, "
        "with sampled actions: the median and the\nquartiles over the seeds. A training has "
        f"{report['steps'][-1]:,} environment steps and one thread, on {machine['cores']} cores of "
        f"a shared {machine['CPU']};\nall of them took {report['core_hours']} hours of one core, "
        "beside other jobs. Seconds are their medians. Commits: "
        f"{', '.join(report['commits'])}.",
        markdown_table(nets),
        f"![Learning curves: medians and quartiles over the seeds]({name}.png)",
        "Below the curves, a bar shows where a net differs from the black one by Wilcoxon's "
        f"rank-sum test (two-sided, p at most\n{SIGNIFICANT}): strong where it is better, pale "
        f"where it is worse. This is tested at {N_POINTS} points, without a correction\nfor their "
        "number. The test of the evaluated scores:",
        markdown_table(pairs),
    )
    return "\n\n".join(said) + "\n"


def _row(label: str, one: dict[str, Any], digits: int, reach: float | None) -> Row:
    row: Row = {
        "net": label,
        "units": one["units"],
        "parameters": one["parameters"],
        "median": f"{one['median']:.{digits}f}",
        "quartiles": f"{one['lower_quartile']:.{digits}f} to {one['upper_quartile']:.{digits}f}",
        "each seed": ", ".join(f"{reward:.{digits}f}" for reward in one["rewards"]),
        "plasticity ablated": None
        if one["ablated_median"] is None
        else f"{one['ablated_median']:.{digits}f}",
        "seconds": one["seconds"],
    }
    if reach is not None:
        steps = ["never" if n is None else f"{n / 1e6:.2f}" for n in one["steps_to_reach"]]
        row[f"million steps to {reach:g}"] = ", ".join(steps)
    return row


def draw(
    curves: dict[str, Curves], panels: Sequence[Panel], ylabel: str, best: float | None
) -> Figure:
    """Draw medians and quartiles, and below where nets differ significantly."""
    width, height = PANEL_INCHES
    figure = Figure((width * len(panels), height), layout="constrained", facecolor="white")
    grid = figure.subplots(
        2, len(panels), sharex="col", sharey="row", squeeze=False, height_ratios=(9, 1)
    )
    for panel, axes, strip in zip(panels, *grid, strict=True):
        if best is not None:
            axes.axhline(best, color="#57606a", linewidth=0.8, linestyle=":", label="optimum")
        _draw_curve(axes, panel.reference, curves[panel.reference], REFERENCE_COLOR)
        for row, (label, color) in enumerate(zip(panel.labels, COLORS, strict=False)):
            _draw_curve(axes, label, curves[label], color)
            _draw_significance(strip, row, curves[label], curves[panel.reference], color)
        axes.set_title(panel.title, fontsize=10)
        axes.grid(color="#d8dee4", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="best", fontsize=7.5, frameon=False)
        strip.set_yticks([])
        strip.set_ylim(len(COLORS) - 2.5, -0.5)
        strip.spines[:].set_visible(False)
        strip.xaxis.set_major_formatter(EngFormatter(sep=""))
        strip.set_xlabel("environment steps")
    grid[0, 0].set_ylabel(ylabel)
    grid[1, 0].set_ylabel(f"p ≤ {SIGNIFICANT:g}", fontsize=8, rotation=0, ha="right", va="center")
    return figure


def _draw_curve(axes: Axes, label: str, one: Curves, color: str) -> None:
    low, median, high = one.quartiles()
    axes.fill_between(one.steps, low, high, color=color, alpha=0.15, linewidth=0)
    axes.plot(one.steps, median, color=color, label=f"{label} ({len(one.runs)})")


def _draw_significance(axes: Axes, row: int, one: Curves, other: Curves, color: str) -> None:
    """Mark the steps at which a net differs from another: strong where better, pale where worse."""
    differs = np.array(_p_by_step(one, other)) <= SIGNIFICANT
    is_better = np.median(one.runs, axis=0) > np.median(other.runs, axis=0)
    for where, alpha in ((differs & is_better, 1.0), (differs & ~is_better, 0.3)):
        axes.scatter(
            one.steps[where], np.full(where.sum(), row), s=9, c=color, marker="s", alpha=alpha
        )
