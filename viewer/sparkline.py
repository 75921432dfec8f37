"""A series as one line of block characters, bright for the past and dim for the future."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.style import Style
from rich.text import Text

from plasticrl.viewer import theme

_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Sparkline:
    """One character and one color per column."""

    characters: str
    colors: tuple[theme.Color, ...]

    @classmethod
    def of_means(cls, series: NDArray[np.floating], width: int, color: theme.Color) -> "Sparkline":
        """Show a mean per column, with blocks that span the range of the series."""
        means = np.array([part.mean() for part in _columns(series, width)])
        span = means.max() - means.min()
        levels = (means - means.min()) / span if span > 0 else np.full(len(means), 0.5)
        # Level 0 is blank and would look like missing data, so the lowest level is 1.
        characters = "".join(_BLOCKS[1 + round(level * 7)] for level in levels)
        return cls(characters, (color,) * len(means))

    @classmethod
    def of_sums(cls, series: NDArray[np.floating], width: int) -> "Sparkline":
        """Show a sum per column: its size as the height, blank for 0, and its sign as the color."""
        sums = np.array([part.sum() for part in _columns(series, width)])
        levels = np.ceil(np.abs(sums) / theme.largest(sums) * 8).astype(int)
        colors = (theme.PUNISHMENT if total < 0 else theme.REWARD for total in sums)
        return cls("".join(_BLOCKS[level] for level in levels), tuple(colors))

    def text(self, done: float) -> Text:
        """Return the line with the share ``done`` in the past and the present highlighted."""
        present = max(0, round(done * len(self.characters)) - 1)
        line = Text()
        for index, (character, color) in enumerate(zip(self.characters, self.colors, strict=True)):
            future, now = index > present, index == present
            shown = Color.from_rgb(*(theme.dimmed(color) if future else color))
            behind = Color.from_rgb(*theme.WALL) if now else None
            line.append(character, Style(color=shown, bgcolor=behind, dim=future))
        return line


def _columns(series: NDArray[np.floating], width: int) -> list[NDArray[np.floating]]:
    """The series cut into at most ``width`` parts of nearly the same length, none empty."""
    return np.array_split(series, min(width, len(series)))
