"""Learning curves as one picture: for each group of runs, their lines, their average and a band.

It is drawn without pyplot, which would need a window system and keep figures open.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from plasticrl.viewer.averaging import Curve
from plasticrl.viewer.files import check_path, replacing

INCHES = (7.2, 4.2)
DPI = 160
SUFFIXES = (".png", ".svg")
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a3d9a", "#5f5f5f")
"""Colors for color-blind readers too: those of Okabe & Ito without yellow, and two more."""
INK, FAINT = "#24292f", "#d8dee4"
MOST_RUNS = 10
"""The most runs of a group that are drawn one by one."""
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8c959f",
    "xtick.color": "#57606a",
    "ytick.color": "#57606a",
    "svg.hashsalt": "plasticrl",  # so that the same curves give the same file
    "text.parse_math": False,  # the name of a run may contain $
}


def check_plot_path(path: Path) -> None:
    """Raise ``ViewerError`` unless a plot can be written to ``path``."""
    check_path(path, "plot", SUFFIXES)


def save_curves(
    curves: Sequence[Curve], path: str | Path, xlabel: str, ylabel: str, note: str
) -> None:
    """Draw the curves into ``path``, replacing an existing file after a complete write.

    Args:
        curves: at least one, in the order of the legend.
        path: ends in .png or .svg.
        xlabel, ylabel: what the axes are.
        note: a line below the plot that explains line and band.

    Raises:
        ViewerError: ``path`` has another suffix or is not in a writable folder.
    """
    path = Path(path)
    check_plot_path(path)
    write_figure(lambda: _figure(curves, xlabel, ylabel, note), path, "plot")


def write_figure(draw: Callable[[], Figure], path: Path, doing: str) -> None:
    """Draw a figure in the style of all plots into ``path``, whose suffix is its format.

    An existing file is replaced after a complete write.

    Args:
        doing: what is done, for the message of an error.

    Raises:
        ViewerError: the file cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    with replacing(path, doing) as temporary, matplotlib.rc_context(_STYLE):
        # A date would make every file different.
        metadata = {"Date": None} if kind == "svg" else {}
        draw().savefig(temporary, format=kind, dpi=DPI, metadata=metadata)


def _figure(curves: Sequence[Curve], xlabel: str, ylabel: str, note: str) -> Figure:
    figure = Figure(figsize=INCHES, layout="constrained", facecolor="white")
    axes = figure.subplots()
    for index, curve in enumerate(curves):
        _draw(axes, curve, COLORS[index % len(COLORS)], "-" if index < len(COLORS) else "--")
    axes.set_xlabel(f"{xlabel}\n{note}", fontsize=10)
    axes.set_ylabel(ylabel)
    axes.margins(x=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside upper left",
        ncols=1 if len(curves) > 4 or any(len(curve.label) > 30 for curve in curves) else 4,
        frameon=False,
        handlelength=1.6,
    )
    return figure


def draws_single_runs(curve: Curve) -> bool:
    """Whether the picture has a thin line for each run of the curve."""
    return 1 < len(curve.runs) <= MOST_RUNS


def _draw(axes: Axes, curve: Curve, color: str, dashes: str) -> None:
    n = len(curve.runs)
    if draws_single_runs(curve):
        axes.plot(curve.steps, curve.runs.T, color=color, alpha=0.6, linewidth=0.8)
    if curve.low is not None and curve.high is not None:
        axes.fill_between(curve.steps, curve.low, curve.high, color=color, alpha=0.18, linewidth=0)
    seeds = "1 run" if n == 1 else f"{n} seeds"
    label = f"{curve.label} ({seeds})"
    axes.plot(curve.steps, curve.center, dashes, color=color, linewidth=1.8, label=label)
