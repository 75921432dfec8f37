"""A signature: a picture of what an agent has learned within episodes, beside agents to compare.

The lines or groups of bars are data, so that one picture serves all tasks.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from plasticrl.viewer.curves import COLORS, FAINT, INCHES, INK, SUFFIXES, write_figure
from plasticrl.viewer.files import check_path


class Series(NamedTuple):
    """The numbers of one agent."""

    label: str
    values: NDArray[np.floating]
    """(N,)."""
    half_interval: NDArray[np.floating] | None = None
    """(N,), half the width of the 95 % interval of each value; None for computed values."""


class Signature(NamedTuple):
    """What a picture shows."""

    title: str
    xlabel: str
    ylabel: str
    kind: Literal["bars", "lines"]
    places: Sequence[str] | Sequence[float]
    """(N,), the labels of the bars, or the positions of the lines' points."""
    series: Sequence[Series]
    level: tuple[str, float] | None = None
    """A label and a value that is drawn as a line, such as chance."""


def check_signature_path(path: Path) -> None:
    """Raise ``ViewerError`` unless a signature can be written to ``path``."""
    check_path(path, "draw the signature", SUFFIXES)


def save_signature(signature: Signature, path: Path) -> None:
    """Draw a signature into ``path``, replacing an existing file after a complete write.

    Raises:
        ViewerError: ``path`` does not end in .png or .svg, or is not in a writable folder.
    """
    check_signature_path(path)
    write_figure(lambda: _figure(signature), path, "draw the signature")


def _figure(signature: Signature) -> Figure:
    figure = Figure(figsize=INCHES, layout="constrained", facecolor="white")
    _draw(figure.subplots(), signature)
    return figure


def _draw(axes: Axes, signature: Signature) -> None:
    places: Any = signature.places
    if signature.level is not None:
        label, value = signature.level
        axes.axhline(value, color=INK, linewidth=0.9, linestyle=":", label=label)
    for index, series in enumerate(signature.series):
        color = COLORS[index % len(COLORS)]
        if signature.kind == "lines":
            axes.plot(places, series.values, color=color, label=series.label)
            if (half := series.half_interval) is not None:
                low, high = series.values - half, series.values + half
                axes.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0)
            continue
        width = 0.8 / len(signature.series)
        left = np.arange(len(places)) - 0.4 + width / 2
        axes.bar(
            left + index * width,
            series.values,
            width * 0.92,
            yerr=series.half_interval,
            color=color,
            label=series.label,
            error_kw={"linewidth": 0.9},
        )
    if signature.kind == "bars":
        axes.set_xticks(np.arange(len(places)), list(places))
    axes.set_title(signature.title, fontsize=11)
    axes.set_xlabel(signature.xlabel)
    axes.set_ylabel(signature.ylabel)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.figure.legend(loc="outside lower center", ncols=4, frameon=False)
