"""The environment at one step as lines of styled text, from its scene, its text or its frame."""

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from rich.text import Span, Text

from plasticrl.viewer import theme
from plasticrl.viewer.blocks import half_blocks, picture, style
from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.scene import Scene, Symbol

_CELL = 4
"""Pixels to the side of a large cell."""
_BELOW = 8
"""Rows that a scene with large cells leaves for the numbers below it."""


def _stamp(*rows: str) -> NDArray[np.bool_]:
    return np.array([[character == "#" for character in row] for row in rows])


_UP = _stamp("....", ".##.", "####", "....")
_STAMPS = {
    "empty": _stamp("....", "....", "....", "...."),
    "block": _stamp("####", "####", "####", "####"),
    "tile": _stamp("###.", "###.", "###.", "...."),
    "disc": _stamp(".##.", "####", "####", ".##."),
    "ring": _stamp(".##.", "#..#", "#..#", ".##."),
    "dot": _stamp("....", ".##.", ".##.", "...."),
    "up": _UP,
    "left": np.rot90(_UP),
    "down": np.rot90(_UP, 2),
    "right": np.rot90(_UP, 3),
}
"""The pixels of a large cell that a shape fills; a dot is a cell of the trail."""


def scenery(
    episode: EpisodeTrace, step: int, columns: int, rows: int, no_color: bool
) -> list[Text]:
    """Draw the environment in at most ``columns`` x ``rows`` characters.

    Return no lines if it does not fit or was not recorded.
    """
    lines: list[Text] = []
    if episode.scene is not None:
        lines = _scene(episode, episode.scene, step, columns, rows, no_color)
    elif episode.texts is not None:
        lines = [_cleaned(line) for line in Text.from_ansi(episode.texts[step]).split()]
    elif episode.frames is not None:
        lines = picture(episode.frames[step], columns, rows, no_color)
    return lines if _fits(lines, columns, rows) else []


def _fits(lines: list[Text], columns: int, rows: int) -> bool:
    return len(lines) <= rows and max((line.cell_len for line in lines), default=0) <= columns


def _cleaned(line: Text) -> Text:
    """Remove links, and the control characters that ``from_ansi`` did not understand."""
    if line.plain.isprintable():
        line.spans = [
            Span(start, end, look.update_link(None) if isinstance(look, Style) else look)
            for start, end, look in line.spans
        ]
        return line
    return Text("".join(character for character in line.plain if character.isprintable()))


def _scene(
    episode: EpisodeTrace, scene: Scene, step: int, columns: int, rows: int, no_color: bool
) -> list[Text]:
    """The scene as large as fits, and its caption below an empty line, if it has any."""
    captions: list[Text] = []
    if scene.caption_width:
        caption = Text(scene.captions[step], Style(bold=True))
        caption.truncate(columns)
        captions = [Text(), caption]
        rows -= len(captions)
    path = scene.path_to(step, episode.rewards)
    height, width = scene.grid.shape[1:]
    if not no_color and _CELL * width <= columns and _CELL // 2 * height <= rows - _BELOW:
        lines = _painted(scene, step, path, _CELL)
    elif 2 * width <= columns and height <= rows:
        lines = _written(scene, step, path, wide=True)
    elif width <= columns and height <= rows:
        lines = _written(scene, step, path, wide=False)
    elif not no_color:
        lines = _painted(scene, step, path, cell=1)
    else:
        return []
    return lines + captions


def _color(symbol: Symbol) -> theme.Color:
    color = theme.COLORS[symbol.color]
    return theme.dimmed(color, 0.55) if symbol.faint else color


def _trail_color(scene: Scene, age: int) -> theme.Color:
    """The trail's color, paler the longer ago it was there."""
    (color,) = (symbol.color for symbol in scene.symbols if symbol.name == scene.trail)
    return theme.dimmed(theme.COLORS[color], max(0.3, 0.9**age))


def _written(scene: Scene, step: int, path: NDArray[np.int64], wide: bool) -> list[Text]:
    """A character for each cell, or two; the trail as •."""
    cells = [
        (2 * s.text if wide and s.shape == "block" else s.text + " " * wide, style(_color(s)))
        if s.shape != "empty"
        else ("  " if wide else " ", "")
        for s in scene.symbols
    ]
    grid = [[cells[index] for index in row] for row in scene.grid[step].tolist()]
    floor = [symbol.shape == "empty" for symbol in scene.symbols]
    for age, (row, column) in zip(range(len(path) - 1, 0, -1), path.tolist(), strict=False):
        if floor[scene.grid[step, row, column]]:  # the trail lies below all other cells
            grid[row][column] = ("• " if wide else "•", style(_trail_color(scene, age)))
    return [Text.assemble(*row) for row in grid]


def _painted(scene: Scene, step: int, path: NDArray[np.int64], cell: int) -> list[Text]:
    """Half blocks, ``cell`` pixels to the side of a cell: 1, or ``_CELL`` for shapes."""
    height, width = scene.grid.shape[1:]
    pixels = np.full((cell * height, cell * width, 3), theme.BACKGROUND, dtype=np.uint8)

    def mark(row: int, column: int, shape: str, color: theme.Color) -> None:
        stamp = _STAMPS[shape] if cell == _CELL else np.full((1, 1), shape != "empty")
        pixels[cell * row : cell * (row + 1), cell * column : cell * (column + 1)][stamp] = color

    for age, (row, column) in zip(range(len(path) - 1, 0, -1), path.tolist(), strict=False):
        mark(row, column, "dot", _trail_color(scene, age))
    for (row, column), index in np.ndenumerate(scene.grid[step]):
        mark(row, column, scene.symbols[index].shape, _color(scene.symbols[index]))
    return half_blocks(pixels)
