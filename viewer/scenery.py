"""The environment at one step as lines of styled text: what is known of it says how."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from rich.text import Span, Text

from plasticrl.viewer import story, theme
from plasticrl.viewer.blocks import half_blocks, picture, style
from plasticrl.viewer.episode import EpisodeTrace

_DISC = np.array([[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]], dtype=bool)
_DOT = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)
_BELOW = 8
"""Rows that a large maze leaves for the numbers below it."""
_STAMPS = _DISC, _DISC & ~_DOT, _DOT


def scenery(
    episode: EpisodeTrace, step: int, columns: int, rows: int, no_color: bool
) -> list[Text]:
    """At most `columns` x `rows` characters: a maze, cues, a text or a picture; or nothing.

    A maze is drawn as large as fits where there are colours. What is too large is left out.
    """
    lines: list[Text] = []
    if story.has_maze(episode):
        height, width = episode.setting["walls"].shape
        if not no_color and 4 * width <= columns and 2 * height <= rows - _BELOW:
            lines = _painted_maze(episode, step, cell=4)
        elif no_color or (2 * width <= columns and height <= rows):
            lines = _maze(episode, step)
        else:
            lines = _painted_maze(episode, step, cell=1)
    elif story.has_cues(episode):
        lines = _cues(episode, step)
    elif episode.texts is not None:
        lines = [_cleaned(line) for line in Text.from_ansi(episode.texts[step]).split()]
    elif episode.frames is not None:
        lines = picture(episode.frames[step], columns, rows, no_color)
    return lines if _fits(lines, columns, rows) else []


def _fits(lines: list[Text], columns: int, rows: int) -> bool:
    return len(lines) <= rows and max((line.cell_len for line in lines), default=0) <= columns


def _cleaned(line: Text) -> Text:
    """Without links, and without the control characters that `from_ansi` did not understand."""
    if line.plain.isprintable():
        line.spans = [
            Span(start, end, look.update_link(None) if isinstance(look, Style) else look)
            for start, end, look in line.spans
        ]
        return line
    return Text("".join(character for character in line.plain if character.isprintable()))


def _maze(episode: EpisodeTrace, step: int) -> list[Text]:
    """Two columns to a cell: walls █, the path since the last reward •, goal ◎, agent ●."""
    walls = episode.setting["walls"]
    cells = {
        (int(row), int(column)): ("██", style(theme.WALL)) for row, column in np.argwhere(walls)
    }
    path = story.path_to(episode, step)
    for age, (row, column) in zip(range(len(path) - 1, -1, -1), path.tolist(), strict=True):
        cells[row, column] = ("• ", style(theme.dimmed(theme.AGENT, max(0.3, 0.9**age))))
    row, column = episode.setting["goal"].tolist()
    cells[row, column] = ("◎ ", style(theme.REWARD, bold=True))
    row, column = episode.state["agent"][step].tolist()
    cells[row, column] = ("● ", style(theme.AGENT, bold=True))
    height, width = walls.shape
    return [
        Text.assemble(*(cells.get((row, column), "  ") for column in range(width)))
        for row in range(height)
    ]


def _painted_maze(episode: EpisodeTrace, step: int, cell: int) -> list[Text]:
    """The same in half blocks, `cell` pixels to a cell's side: 1, or 4 for round marks."""
    walls = episode.setting["walls"].repeat(cell, axis=0).repeat(cell, axis=1)
    pixels = np.where(walls[..., None], theme.WALL, theme.BACKGROUND).astype(np.uint8)

    def mark(place: NDArray[Any], stamp: NDArray[np.bool_], color: theme.Color) -> None:
        row, column = (cell * place).tolist()
        pixels[row : row + cell, column : column + cell][stamp] = color

    disc, ring, dot = (stamp if cell == 4 else np.ones((1, 1), bool) for stamp in _STAMPS)
    path = story.path_to(episode, step)
    for age, place in zip(range(len(path) - 1, -1, -1), path, strict=True):
        mark(place, dot, theme.dimmed(theme.AGENT, max(0.3, 0.9**age)))
    mark(episode.setting["goal"], ring, theme.REWARD)
    mark(episode.state["agent"][step], disc, theme.AGENT)
    return half_blocks(pixels)


def _cues(episode: EpisodeTrace, step: int) -> list[Text]:
    """A line for every cue, + as ■ and - as □: ► marks the one in sight, ◎ the one that counts."""
    lines = []
    in_sight = int(episode.state["cue"][step])
    target = int(episode.setting["target"])
    for index, cue in enumerate(episode.setting["cues"]):
        seen = index == in_sight
        line = Text().append("► " if seen else "  ", style(theme.AGENT, bold=True))
        line.append("◎ " if index == target else "  ", style(theme.REWARD, bold=True))
        for bit in cue:
            color = theme.POSITIVE if bit > 0 else theme.NEGATIVE
            line.append(
                "■" if bit > 0 else "□", style(color if seen else theme.dimmed(color, 0.55))
            )
        lines.append(line)
    go = bool(episode.state["go"][step])
    answer = f"    go: the answer is {episode.actions[step]}" if go else ""
    return [*lines, Text(), Text().append(answer, Style(bold=True))]
