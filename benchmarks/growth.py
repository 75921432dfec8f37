"""Growth of the fused plastic_rnn's time with N, B and T: fitted exponents and a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from benchmarks.cases import MODULATED, Size, forward_backward
from benchmarks.measuring import MILLI, PowerLaw, Settings, alternated, fit_power_law, say
from benchmarks.report import Row, Table

Points = Mapping[str, Sequence[int]]
"""The dimensions that vary, and their values."""

BASE, QUICK_BASE = Size(200, 30, 100), Size(50, 4, 64)
POINTS = {
    "neurons": (32, 64, 128, 256, 512),
    "rows": (1, 2, 4, 8, 16, 32, 64, 128),
    "steps": (25, 50, 100, 200, 400, 800),
}
QUICK_POINTS = {"neurons": (32, 64, 128), "rows": (1, 4, 16), "steps": (25, 50, 100)}
LETTERS = {"neurons": "N", "rows": "B", "steps": "T"}
LABELS = {"neurons": "neurons N", "rows": "batch rows B", "steps": "time steps T"}
PLOT = "growth.png"
PANEL_INCHES = (4.0, 3.8)
DPI = 150
TICKS = (1, 2, 5)
"""Labeled ticks in each decade of the time axis."""

NOTES = (
    "Time is proportional to the given power of the dimension that varies, fitted by least squares "
    "of the logarithms; misfit: the largest factor between a point and the line.",
    f"Forward and backward of {MODULATED}, fan-out, timed one sequence after the other; {PLOT} "
    "shows the points and the lines.",
)


def measure(settings: Settings) -> list[Table]:
    """A table of exponents and a table of the points; the plot is saved in the results folder."""
    base = QUICK_BASE if settings.quick else BASE
    points: Points = QUICK_POINTS if settings.quick else POINTS
    seconds = {name: _seconds(name, base, points[name], settings.repeat) for name in points}
    fits = {name: fit_power_law(points[name], seconds[name]) for name in points}
    figure = plot(base, points, seconds, fits)
    figure.savefig(Path(settings.out, PLOT), dpi=DPI)
    fitted = [_fit_row(name, base, points[name], fits[name]) for name in points]
    measured: list[Row] = [
        {"varies": LETTERS[name], "value": value, "time [ms]": time / MILLI}
        for name in points
        for value, time in zip(points[name], seconds[name], strict=True)
    ]
    return [Table("Exponents", fitted, NOTES), Table("Points", measured)]


def _seconds(name: str, base: Size, values: Sequence[int], repeat: int) -> list[float]:
    """The median time at each value of one dimension, with the others as in ``base``."""
    say(f"  {LETTERS[name]} = {', '.join(map(str, values))}")
    times = []
    for value in values:
        size = base._replace(**{name: value})
        action = forward_backward(MODULATED, "fused", size)
        times.append(alternated({"fused": action}, repeat)["fused"].median)
    return times


def _fit_row(name: str, base: Size, values: Sequence[int], fit: PowerLaw) -> Row:
    return {
        "varies": LETTERS[name],
        "from": min(values),
        "to": max(values),
        "others": _others(name, base),
        "exponent": fit.exponent,
        "misfit": fit.misfit,
    }


def _others(name: str, base: Size) -> str:
    """The constant dimensions, for example "T = 200, B = 30"."""
    fixed = {LETTERS[key]: value for key, value in base._asdict().items() if key != name}
    return ", ".join(f"{letter} = {value}" for letter, value in fixed.items())


def plot(
    base: Size,
    points: Points,
    seconds: dict[str, list[float]],
    fits: dict[str, PowerLaw],
) -> Figure:
    """Plot the points and the fitted line of each dimension on logarithmic axes."""
    width, height = PANEL_INCHES
    figure = Figure(figsize=(width * len(points), height), layout="constrained")
    panels = figure.subplots(1, len(points), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, points, strict=True):
        _panel(axes, name, points[name], seconds[name], fits[name])
        axes.set_title(_others(name, base))
    panels[0].yaxis.set_major_locator(LogLocator(subs=TICKS))
    panels[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panels[0].yaxis.set_minor_formatter(NullFormatter())
    panels[0].set_ylabel("forward + backward [ms]")
    figure.suptitle("Fused plastic_rnn: time of one sequence")
    return figure


def _panel(
    axes: Axes, name: str, values: Sequence[int], seconds: Sequence[float], fit: PowerLaw
) -> None:
    line = [fit.factor * value**fit.exponent / MILLI for value in values]
    axes.loglog(values, [time / MILLI for time in seconds], "o", label="measured")
    axes.loglog(values, line, "--", label=f"time ∝ ${LETTERS[name]}^{{{fit.exponent:.2f}}}$")
    axes.set_xticks(values, [str(value) for value in values])
    axes.minorticks_off()
    axes.set_xlabel(LABELS[name])
    axes.grid(alpha=0.3)
    axes.legend()
