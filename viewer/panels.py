"""The parts of the picture, each an RGB image made from arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from plasticrl.viewer import theme

SIDE = 280
"""Pixels: both sides of the environment's panel and of the trace's."""

_FINER = 4
"""Lines are drawn this much larger and shrunk, since Pillow draws them jagged."""


def environment(frame: NDArray[np.uint8]) -> Image.Image:
    """The frame as large as the panel holds: pixels crisp where it grows, averaged where not."""
    height, width = frame.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    return _centred(Image.fromarray(frame).resize(size, method))


def heat_map(matrix: NDArray[Any], scale: float) -> Image.Image:
    """The matrix in colours, the same whole number of pixels for every entry."""
    rows, columns = matrix.shape
    cell = SIDE // max(rows, columns)
    picture = Image.fromarray(theme.diverging(matrix / scale))
    return _centred(picture.resize((columns * cell, rows * cell), Image.Resampling.NEAREST))


def legend(width: int, height: int) -> Image.Image:
    """The heat map's colours from -1 to 1, left to right."""
    ramp = theme.diverging(np.linspace(-1, 1, width))
    return Image.fromarray(np.broadcast_to(ramp, (height, width, 3)).copy())


def line(series: NDArray[Any], width: int, height: int, color: theme.Color) -> Image.Image:
    """The series as a line from edge to edge, over a faint zero line where zero is in range."""
    low, high = float(series.min()), float(series.max())
    levels = (series - low) / (high - low) if high > low else np.full(len(series), 0.5)
    panel = Image.new("RGB", (width * _FINER, height * _FINER), theme.PANEL)
    draw = ImageDraw.Draw(panel)
    if low < 0 < high:
        zero = _level(-low / (high - low), height) * _FINER
        draw.line([(0, zero), (panel.width, zero)], fill=theme.dimmed(theme.MUTED), width=_FINER)
    points = [
        ((column(t, len(series), width) + 0.5) * _FINER, _level(float(level), height) * _FINER)
        for t, level in enumerate(levels)
    ]
    draw.line(points, fill=color, width=int(1.5 * _FINER), joint="curve")
    return panel.resize((width, height), Image.Resampling.BOX)


def ticks(
    series: NDArray[Any], width: int, height: int, up: theme.Color, down: theme.Color
) -> Image.Image:
    """A bar for every entry that is not zero, up from the baseline or down from it."""
    panel = Image.new("RGB", (width, height), theme.PANEL)
    draw = ImageDraw.Draw(panel)
    base = height - 6 if series.min() >= 0 else 6 if series.max() <= 0 else height // 2
    room = (height // 2 if series.min() < 0 < series.max() else height - 6) - 6
    scale = theme.largest(series)
    for t in np.flatnonzero(series):
        x, y = column(int(t), len(series), width), base - float(series[t]) / scale * room
        draw.line([(x, base), (x, y)], fill=up if series[t] > 0 else down, width=2)
    return panel


def column(step: int, n_steps: int, width: int) -> int:
    """Where on a strip of `width` pixels a step lies, a little off both edges."""
    return 4 + round(step / max(1, n_steps - 1) * (width - 9))


def _level(share: float, height: int) -> float:
    """The y of a point `share` of the way up a strip, a little off both edges."""
    return height - 6 - share * (height - 12)


def _centred(picture: Image.Image) -> Image.Image:
    panel = Image.new("RGB", (SIDE, SIDE), theme.PANEL)
    panel.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    return panel
