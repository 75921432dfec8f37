"""The parts of the picture, each an RGB image made from arrays."""

import textwrap
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from plasticrl.viewer import theme

SIDE = 280
"""Pixels: both sides of the environment's panel and of the trace's."""

_FINER = 4
"""Lines are drawn this much larger and shrunk, since Pillow draws them jagged."""
_BOX = Image.Resampling.BOX


def environment(frame: NDArray[np.uint8]) -> Image.Image:
    """The frame as large as the panel holds: pixels crisp where it grows, averaged where not."""
    height, width = frame.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = Image.Resampling.NEAREST if scale >= 1 else _BOX
    return _centred(Image.fromarray(frame).resize(size, method))


def maze(
    walls: NDArray[np.bool_], goal: NDArray[Any], path: NDArray[Any], hit: bool
) -> Image.Image:
    """Walls (h, w), the goal (2,), lit where it was `hit`, and the path (n, 2) to the agent."""
    cell = SIDE * _FINER // max(walls.shape)
    picture = Image.new("RGB", (cell * walls.shape[1], cell * walls.shape[0]), theme.BACKGROUND)
    draw = ImageDraw.Draw(picture)

    def box(place: NDArray[Any], share: float) -> tuple[float, float, float, float]:
        row, column = ((place + 0.5) * cell).tolist()
        half = share * cell
        return column - half, row - half, column + half, row + half

    for place in np.argwhere(walls):
        draw.rectangle(box(place, 0.5), theme.WALL)
    ring = theme.REWARD if hit else theme.dimmed(theme.REWARD, 0.2)
    draw.rounded_rectangle(box(goal, 0.44), 0.15 * cell, ring)
    draw.ellipse(box(goal, 0.26), outline=theme.REWARD, width=max(1, cell // 10))
    for age in range(len(path) - 1, 0, -1):  # from the oldest
        color = theme.dimmed(theme.AGENT, max(0.2, 0.92**age))
        start, end = path[-age - 1], path[-age]
        draw.line(
            [tuple(((place[::-1] + 0.5) * cell).tolist()) for place in (start, end)],
            fill=color,
            width=max(1, cell // 8),
        )
        draw.ellipse(box(start, 0.06), fill=color)
    draw.ellipse(box(path[-1], 0.28), fill=theme.AGENT)
    return _centred(picture.resize((picture.width // _FINER, picture.height // _FINER), _BOX))


def empty(note: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """A panel for what was not recorded, with the reason in its middle."""
    panel = Image.new("RGB", (SIDE, SIDE), theme.PANEL)
    text = "\n".join(textwrap.wrap(note, 32))
    middle = SIDE / 2, SIDE / 2
    ImageDraw.Draw(panel).multiline_text(
        middle, text, theme.MUTED, font, anchor="mm", align="center", spacing=6
    )
    return panel


def heat_map(matrix: NDArray[Any]) -> Image.Image:
    """The matrix, from -1 to 1, in colours, the same whole number of pixels for every entry."""
    rows, columns = matrix.shape
    cell = SIDE // max(rows, columns)
    picture = Image.fromarray(theme.diverging(matrix))
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
    return panel.resize((width, height), _BOX)


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
