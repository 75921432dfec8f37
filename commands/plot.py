"""``plasticrl evaluate RUN RUN ... --plot FILE``: learning curves of agents or supervised runs.

Reads configs and metrics alone: neither torch nor a checkpoint is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from plasticrl.agents.training.config import KIND as AGENT
from plasticrl.commands.program import say
from plasticrl.runs import RunDirectory, RunError, UsageError, flat, read_series
from plasticrl.tasks.config import KIND as SUPERVISED

if TYPE_CHECKING:
    from plasticrl.viewer.averaging import Curve


@dataclass(frozen=True, kw_only=True)
class PlotArguments:
    """Draw the learning curves of runs: the mean over seeds, and its 95 % bootstrap interval."""

    plot: Path | None = None
    """Draw the learning curves of RUN RUN ... to FILE.png or FILE.svg instead."""
    metric: str | None = None
    """With --plot: a metric of metrics.jsonl. By default rollout/ep_rew_mean; of supervised runs
    train/loss, also of their control nets."""
    by: tuple[str, ...] = ()
    """With --plot: settings that tell curves apart, as core.modulation; the preset always does."""
    average: Literal["mean", "iqm"] = "mean"
    """With --plot: over the seeds, their mean, or the mean of their middle half."""


class Axes(NamedTuple):
    """What the curves of a kind of run are drawn over, and of which metric by default."""

    steps: str
    metric: str


AXES = {
    AGENT: Axes("environment steps", "rollout/ep_rew_mean"),
    SUPERVISED: Axes("training episodes", "train/loss"),
}
MAY_DIFFER = {
    *("seed", "device", "threads", "checkpoint_every", "total_timesteps", "n_updates"),
    *("controls", "evaluation_episodes", "data_root"),
}
"""Settings in which the runs of one curve may differ: the seed, how long, and where they ran."""
_AVERAGES = {"mean": "mean", "iqm": "interquartile mean"}


def plot(paths: Sequence[Path], arguments: PlotArguments) -> int:
    """Draw the curves of runs; the exit status.

    Raises:
        UsageError, RunError, ViewerError: a path, a run or a metric is wrong; one sentence.
    """
    from plasticrl.viewer.curves import check_plot_path, save_curves

    assert arguments.plot is not None
    check_plot_path(arguments.plot)
    runs = [RunDirectory.open(path) for path in paths]
    axes = _axes(runs)
    metric = arguments.metric or axes.metric
    curves = read_curves(runs, metric, arguments.by, arguments.average)
    note = _note(curves, arguments.average)
    save_curves(curves, arguments.plot, axes.steps, metric, note)
    for curve in curves:
        print(_last_value(curve, metric))
    say(f"wrote {arguments.plot}")
    return 0


def _axes(runs: Sequence[RunDirectory]) -> Axes:
    if not runs:
        raise UsageError("--plot draws the curves of runs: name one or more run directories")
    first = runs[0]
    for run in runs:
        if run.kind not in AXES:
            raise UsageError(f"{run.path} is a run of kind {run.kind!r}, which has no curves here")
        if run.kind != first.kind:
            raise UsageError(
                f"{first.path} is a run of kind {first.kind!r} and {run.path} of kind "
                f"{run.kind!r}: their steps are not the same, plot them apart"
            )
    return AXES[first.kind]


def read_curves(
    runs: Sequence[RunDirectory], metric: str, by: Sequence[str], average: str
) -> "list[Curve]":
    """A curve for each group of runs that differ in their seeds alone, and each of their nets.

    Args:
        runs: of one kind.
        metric: as ``read_series``.
        by: settings that tell groups apart besides the preset, with dots: ``core.modulation``.
        average: "mean" or "iqm".

    Raises:
        UsageError: a setting is not there, or runs of a group differ in one or have the same seed.
        RunError: a run's metrics are damaged, or do not have the metric.
        ViewerError: runs of a group have no range of steps in common.
    """
    from plasticrl.viewer.averaging import Points, average_runs

    curves = []
    for label, group in _groups(runs, [_as_setting(name) for name in by]).items():
        nets: dict[str, list[Points]] = {}
        for run in group:
            for net, series in read_series(run.metrics_path, metric).items():
                points = Points(str(run.path), series.steps, series.values)
                nets.setdefault(net, []).append(points)
                if n := series.n_left_out:
                    values = f"1 value of {metric} is" if n == 1 else f"{n} values of {metric} are"
                    say(f"note: {run.path}: {values} not finite, and left out")
        for net, members in nets.items():
            named = f"{label}, {net or _own_net(group[0])}" if len(nets) > 1 else label
            curves.append(average_runs(named, members, average))
    return curves


def _own_net(run: RunDirectory) -> str:
    """What a run calls the net that the others are controls of."""
    try:
        return str(run.read_evaluation().get("net", "its own net"))
    except RunError:  # its training has not ended
        return "its own net"


def _as_setting(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")


def _groups(runs: Sequence[RunDirectory], by: Sequence[str]) -> dict[str, list[RunDirectory]]:
    """The runs by the label of their group, in the order given."""
    settings = [flat(run.config) for run in runs]
    for name in by:
        if not any(name in mine for mine in settings):
            raise UsageError(f"--by: no run has a setting {name!r}; they have {_names(settings)}")
    several = len({run.preset for run in runs}) > 1
    groups: dict[str, list[RunDirectory]] = {}
    for run, mine in zip(runs, settings, strict=True):
        parts = [run.preset] if several or not by else []
        parts += [f"{name} {mine.get(name)}" for name in by]
        groups.setdefault(", ".join(parts), []).append(run)
    for group in groups.values():
        _check_alike(group)
    return groups


def _check_alike(group: Sequence[RunDirectory]) -> None:
    """An average of different experiments, or of one run taken twice, would mean nothing."""
    first, seeds = flat(group[0].config), dict[Any, RunDirectory]()
    for run in group:
        settings = flat(run.config)
        names = sorted(settings.keys() | first.keys())
        different = [n for n in names if n not in MAY_DIFFER and settings.get(n) != first.get(n)]
        if different:
            raise UsageError(
                f"{group[0].path} and {run.path} differ in {', '.join(different)}: "
                f"tell them apart with --by {' '.join(different)}"
            )
        seed = settings.get("seed")
        if seed in seeds:
            raise UsageError(
                f"{seeds[seed].path} and {run.path} have the same seed {seed}: "
                "runs of one curve must differ in it"
            )
        seeds[seed] = run


def _names(settings: Sequence[dict[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(name for mine in settings for name in mine))


def _note(curves: "Sequence[Curve]", average: str) -> str:
    """What line and band are."""
    if all(curve.low is None for curve in curves):
        return "one run each: no interval"
    return f"line: {_AVERAGES[average]} over seeds; band: its 95 % bootstrap interval"


def _last_value(curve: "Curve", metric: str) -> str:
    """Where a curve ends, in words."""
    n = len(curve.runs)
    line = f"{curve.label}: {metric} {curve.center[-1]:.4g}"
    if curve.low is not None and curve.high is not None:
        line += f" ({curve.low[-1]:.4g} to {curve.high[-1]:.4g}, {n} seeds)"
    return f"{line} at step {curve.steps[-1]:,.0f}"
