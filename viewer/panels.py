"""The parts of films and stills, each an RGB image made from arrays."""

import textwrap
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from plasticrl.viewer import theme
from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.scene import Scene, Symbol
from plasticrl.viewer.story import is_hit

SIDE = 280
"""Pixels of both sides of a panel, for the environment and for the trace."""

_FINER = 4
"""The factor by which lines are drawn larger and then shrunk, since Pillow's are jagged."""
_BOX = Image.Resampling.BOX


def environment(episode: EpisodeTrace, step: int) -> Image.Image | None:
    """Draw the environment before the step, from its scene or frame; None without either."""
    if episode.scene is not None:
        path = episode.scene.path_to(step, episode.rewards)
        return scene_panel(episode.scene, step, path, is_hit(episode, step))
    return None if episode.frames is None else frame_panel(episode.frames[step])


def frame_panel(frame: NDArray[np.uint8]) -> Image.Image:
    """Draw a frame as large as fits: pixels stay sharp if enlarged and are averaged if not."""
    height, width = frame.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    method = Image.Resampling.NEAREST if scale >= 1 else _BOX
    return _centered(Image.fromarray(frame).resize(size, method))


def scene_panel(scene: Scene, step: int, path: NDArray[np.int64], lit: bool) -> Image.Image:
    """Draw a scene, with the ``path`` (n, 2) of its trail, and its goal full if ``lit``."""
    grid = scene.grid[step]
    cell = max(1, SIDE * _FINER // max(grid.shape))
    size = cell * grid.shape[1], cell * grid.shape[0]
    picture = Image.new("RGB", size, theme.BACKGROUND)
    draw = ImageDraw.Draw(picture)
    cells = [(place, scene.symbols[index]) for place, index in np.ndenumerate(grid)]
    for (row, column), symbol in sorted(cells, key=lambda one: one[1].name == scene.trail):
        if symbol.name == scene.trail:
            _draw_path(draw, path, cell, theme.COLORS[symbol.color])
        _draw_cell(draw, symbol, row, column, cell, lit and symbol.name == scene.goal)
    return _centered(picture.resize((size[0] // _FINER, size[1] // _FINER), _BOX))


_CORNERS = {
    "up": ((0.5, 0.14), (0.86, 0.8), (0.14, 0.8)),
    "down": ((0.5, 0.86), (0.86, 0.2), (0.14, 0.2)),
    "left": ((0.14, 0.5), (0.8, 0.14), (0.8, 0.86)),
    "right": ((0.86, 0.5), (0.2, 0.14), (0.2, 0.86)),
}
"""x and y of the corners of triangles, in units of a cell."""


def _draw_cell(
    draw: ImageDraw.ImageDraw, symbol: Symbol, row: int, column: int, cell: int, lit: bool
) -> None:
    color = theme.COLORS[symbol.color]
    if symbol.faint:
        color = theme.dimmed(color, 0.4)

    def box(share: float) -> tuple[float, float, float, float]:
        x, y, half = (column + 0.5) * cell, (row + 0.5) * cell, share * cell
        return x - half, y - half, x + half, y + half

    if symbol.shape == "block":
        draw.rectangle(box(0.5), color)
    elif symbol.shape == "tile":
        draw.rounded_rectangle(box(0.42), 0.12 * cell, color)
    elif symbol.shape == "disc":
        draw.ellipse(box(0.28), fill=color)
    elif symbol.shape == "ring":
        around = color if lit else theme.dimmed(color, 0.2)
        draw.rounded_rectangle(box(0.44), 0.15 * cell, around)
        draw.ellipse(box(0.26), outline=color, width=max(1, cell // 10))
    elif symbol.shape in _CORNERS:
        corners = [((column + x) * cell, (row + y) * cell) for x, y in _CORNERS[symbol.shape]]
        draw.polygon(corners, color)


def _draw_path(
    draw: ImageDraw.ImageDraw, path: NDArray[np.int64], cell: int, color: theme.Color
) -> None:
    """Lines from cell to cell, paler the longer ago."""
    centers = [((column + 0.5) * cell, (row + 0.5) * cell) for row, column in path.tolist()]
    half = 0.06 * cell
    for age in range(len(centers) - 1, 0, -1):  # from the oldest
        pale = theme.dimmed(color, max(0.2, 0.92**age))
        (x, y), end = centers[-age - 1], centers[-age]
        draw.line([(x, y), end], fill=pale, width=max(1, cell // 8))
        draw.ellipse((x - half, y - half, x + half, y + half), fill=pale)


def empty(note: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """Draw a panel for a part that was not recorded, with the reason in its middle."""
    panel = Image.new("RGB", (SIDE, SIDE), theme.PANEL)
    text = "\n".join(textwrap.wrap(note, 32))
    middle = SIDE / 2, SIDE / 2
    ImageDraw.Draw(panel).multiline_text(
        middle, text, theme.MUTED, font, anchor="mm", align="center", spacing=6
    )
    return panel


def heat_map(matrix: NDArray[Any]) -> Image.Image:
    """Draw a matrix of numbers from -1 to 1 in colors, with squares of one size."""
    rows, columns = matrix.shape
    cell = SIDE // max(rows, columns)
    picture = Image.fromarray(theme.diverging(matrix))
    return _centered(picture.resize((columns * cell, rows * cell), Image.Resampling.NEAREST))


def legend(width: int, height: int) -> Image.Image:
    """Draw the heat map's colors from -1 to 1, left to right."""
    ramp = theme.diverging(np.linspace(-1, 1, width))
    return Image.fromarray(np.broadcast_to(ramp, (height, width, 3)).copy())


def line(series: NDArray[Any], width: int, height: int, color: theme.Color) -> Image.Image:
    """Draw a series as a line, above a faint line at zero if zero is in its range."""
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
    """Draw a bar for every entry that is not zero, up or down from the baseline."""
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
    """Return the x of a step on a strip of ``width`` pixels, with a small margin."""
    return 4 + round(step / max(1, n_steps - 1) * (width - 9))


def _level(share: float, height: int) -> float:
    """The y of a point at the share ``share`` of a strip's height, with a small margin."""
    return height - 6 - share * (height - 12)


def _centered(picture: Image.Image) -> Image.Image:
    panel = Image.new("RGB", (SIDE, SIDE), theme.PANEL)
    panel.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    return panel
