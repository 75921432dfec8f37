"""``plasticrl evaluate RUN RUN ... --plot FILE``: learning curves of agents or supervised runs.

It reads only configs and metrics, so it needs neither torch nor checkpoints.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from plasticrl.agents.training.config import KIND as AGENT
from plasticrl.commands.flags import nearest
from plasticrl.commands.program import printable, say
from plasticrl.runs import RunDirectory, RunError, UsageError, flat, read_series
from plasticrl.tasks.config import KIND as SUPERVISED

if TYPE_CHECKING:
    from plasticrl.viewer.averaging import Curve


@dataclass(frozen=True, kw_only=True)
class PlotArguments:
    """Draw the learning curves of runs: the mean over seeds with its 95 % bootstrap interval."""

    plot: Path | None = None
    """Draw the learning curves of RUN RUN ... to FILE.png or FILE.svg."""
    metric: str | None = None
    """With --plot: a metric of metrics.jsonl. The default is rollout/ep_rew_mean for agents, and
    train/loss of all nets for supervised runs."""
    by: tuple[str, ...] = ()
    """With --plot: draw one curve for each value of these settings, for example core.modulation.
    Runs of different presets are always separate."""
    average: Literal["mean", "iqm"] = "mean"
    """With --plot: the average over the seeds; iqm is the mean of the middle half."""


class Axes(NamedTuple):
    """What is plotted for one kind of run."""

    steps: str
    """The label of the horizontal axis."""
    metric: str
    """The default metric."""


AXES = {
    AGENT: Axes("environment steps", "rollout/ep_rew_mean"),
    SUPERVISED: Axes("training episodes", "train/loss"),
}
MAY_DIFFER = {
    *("seed", "device", "threads", "checkpoint_every", "total_timesteps", "n_updates"),
    *("controls", "evaluation_episodes", "data_root"),
}
"""Settings in which the runs of one curve may differ."""
METRIC_LABELS = {
    "rollout/ep_rew_mean": "reward per episode",
    "rollout/ep_len_mean": "steps per episode",
    "train/loss": "training loss",
}
"""The labels of the y axis; other metrics have their own name."""
_AVERAGES = {"mean": "mean", "iqm": "interquartile mean"}


def plot(paths: Sequence[Path], arguments: PlotArguments) -> int:
    """Draw the curves of runs and return the exit status.

    Raises:
        UsageError, RunError, ViewerError: a path, a run or a metric is wrong.
    """
    from plasticrl.viewer.curves import check_plot_path

    assert arguments.plot is not None
    check_plot_path(arguments.plot)
    runs = [RunDirectory.open(path) for path in paths]
    axes = axes_of(runs)
    metric = arguments.metric or axes.metric
    curves = read_curves(runs, metric, arguments.by, arguments.average)
    draw_curves(curves, arguments.plot, axes.steps, metric, arguments.average)
    for curve in curves:
        print(printable(_last_value(curve, metric)))
    return 0


def draw_curves(
    curves: "Sequence[Curve]", path: Path, steps: str, metric: str, average: str
) -> None:
    """Write a picture of curves, and say so.

    Args:
        steps: the label of the horizontal axis.

    Raises:
        ViewerError, WriteError: the file cannot be written.
    """
    from plasticrl.viewer.curves import save_curves

    note = _note(curves, average)
    save_curves(curves, path, steps, METRIC_LABELS.get(metric, metric), note)
    say(f"wrote {path}")


def axes_of(runs: Sequence[RunDirectory]) -> Axes:
    """Return what is plotted for these runs; raise ``UsageError`` if they are of several kinds."""
    if not runs:
        raise UsageError("--plot draws the curves of runs: name one or more run directories")
    first = runs[0]
    for run in runs:
        if run.kind not in AXES:
            raise UsageError(f"{run.path} is a run of kind {run.kind!r}, which cannot be plotted")
        if run.kind != first.kind:
            raise UsageError(
                f"{first.path} is a run of kind {first.kind!r} and {run.path} of kind "
                f"{run.kind!r}: they count different steps, so plot them separately"
            )
    return AXES[first.kind]


def read_curves(
    runs: Sequence[RunDirectory], metric: str, by: Sequence[str], average: str
) -> "list[Curve]":
    """Average the runs of each group to a curve, or to a curve for each net in supervised runs.

    Args:
        runs: runs of one kind.
        metric: as for ``read_series``.
        by: dotted names of settings, such as ``core.modulation``. Runs with the same preset and the
            same values of these settings form a group.
        average: "mean" or "iqm".

    Raises:
        UsageError: no run has a setting in ``by``, or runs of a group differ in more than the seed
            (see ``MAY_DIFFER``) or have the same seed.
        RunError: a run's metrics are damaged, or do not have the metric.
        ViewerError: the runs of a group have no range of steps in common.
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
    """The name of a supervised run's own net; its other nets are controls."""
    try:
        return str(run.read_evaluation().get("net", "its own net"))
    except RunError:  # the training has not ended
        return "its own net"


def _as_setting(flag: str) -> str:
    """The name of a setting, which the user may have typed as a flag such as ``--core.fan-out``."""
    return flag.lstrip("-").replace("-", "_")


def _groups(runs: Sequence[RunDirectory], by: Sequence[str]) -> dict[str, list[RunDirectory]]:
    """Divide the runs into groups. The key of a group is its label in the plot."""
    settings = [flat(run.config) for run in runs]
    for name in by:
        if not any(name in mine for mine in settings):
            known = dict.fromkeys(known for mine in settings for known in mine)
            near = " or ".join(nearest(name, list(known)))
            hint = f"did you mean {near}?" if near else "config.json in a run's folder has all"
            raise UsageError(f"--by: no run has a setting {name!r}: {hint}")
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
    """Raise ``UsageError`` if the runs of a group are different experiments or the same run."""
    first, seeds = flat(group[0].config), dict[Any, RunDirectory]()
    for run in group:
        settings = flat(run.config)
        names = sorted(settings.keys() | first.keys())
        different = [n for n in names if n not in MAY_DIFFER and settings.get(n) != first.get(n)]
        if different:
            raise UsageError(
                f"{group[0].path} and {run.path} differ in {', '.join(different)}: "
                f"separate them with --by {' '.join(different)}"
            )
        seed = settings.get("seed")
        if seed in seeds:
            raise UsageError(
                f"{seeds[seed].path} and {run.path} have the same seed {seed}: "
                "the runs of a curve need different seeds"
            )
        seeds[seed] = run


def _note(curves: "Sequence[Curve]", average: str) -> str:
    """The note below the plot, which explains the lines and the band."""
    from plasticrl.viewer.curves import draws_single_runs

    if all(curve.low is None for curve in curves):
        return "one run each: no interval"
    note = f"line: {_AVERAGES[average]} over seeds; band: its 95 % bootstrap interval"
    if any(draws_single_runs(curve) for curve in curves):
        note += "; thin lines: single seeds"
    return note


def _last_value(curve: "Curve", metric: str) -> str:
    """A sentence with the last value of a curve."""
    n = len(curve.runs)
    line = f"{curve.label}: {metric} {curve.center[-1]:.4g}"
    if curve.low is not None and curve.high is not None:
        line += f" ({curve.low[-1]:.4g} to {curve.high[-1]:.4g}, {n} seeds)"
    return f"{line} at step {curve.steps[-1]:,.0f}"
