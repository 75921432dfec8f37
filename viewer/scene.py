"""The scene of an episode: at every step a grid of named cells, which every renderer can draw.

Each cell holds the index of a symbol. A symbol says in words how its cells look, and every renderer
translates the words into its own colors and shapes.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

COLORS = ("wall", "agent", "goal", "cue", "positive", "negative", "muted")
SHAPES = ("empty", "block", "tile", "disc", "ring", "up", "down", "left", "right")
"""Nothing, the whole cell, a square, a circle, a ring with a dot, or a triangle."""
LARGEST_SIDE = 200
"""The most rows and columns of a grid."""
_LONGEST_NAME, _LONGEST_CAPTION = 60, 200


class Symbol(NamedTuple):
    """One kind of cell."""

    name: str
    text: str  # one character, for terminals
    shape: str  # one of SHAPES
    color: str  # one of COLORS
    faint: bool  # whether it is drawn pale


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """What is to be seen at T steps, each time before the agent acts.

    Attributes:
        symbols: the kinds of cells.
        grid: uint8 (T, height, width), indices into ``symbols``.
        captions: T lines of text, which may be empty.
        actions: the actions' names, in order; empty if they have none.
        trail: name of the symbol whose path since the last reward is drawn, or empty. At most one
            cell holds it.
        goal: name of the symbol that lights up at a step with a positive reward, or empty.

    Raises:
        ValueError: a field has the wrong type, shape or length, or names nothing that is known.
    """

    symbols: tuple[Symbol, ...]
    grid: NDArray[np.uint8]
    captions: tuple[str, ...]
    actions: tuple[str, ...] = ()
    trail: str = ""
    goal: str = ""

    def __post_init__(self) -> None:
        for symbol in self.symbols:
            _check_symbol(symbol)
        shape = self.grid.shape
        if self.grid.dtype != np.uint8 or len(shape) != 3 or not all(shape):
            found = f"{self.grid.dtype} {shape}"
            raise ValueError(f"grid must be uint8 (T, height, width), not {found}")
        if max(shape[1:]) > LARGEST_SIDE:
            raise ValueError(f"grid must have sides of at most {LARGEST_SIDE}, not {shape[1:]}")
        if (most := int(self.grid.max())) >= len(self.symbols):
            raise ValueError(f"grid has {most}, but there are {len(self.symbols)} symbols")
        if len(self.captions) != len(self.grid):
            raise ValueError(f"captions must be {len(self.grid)}, not {len(self.captions)}")
        for caption in self.captions:
            check_line("captions", caption, _LONGEST_CAPTION)
        for action in self.actions:
            check_line("actions", action, _LONGEST_NAME)
        names = {"", *(symbol.name for symbol in self.symbols)}
        if len(names) <= len(self.symbols):
            raise ValueError("every symbol must have a name of its own")
        for field in ("trail", "goal"):
            if getattr(self, field) not in names:
                raise ValueError(f"{field} must be empty or the name of a symbol")

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """(T,) row * width + column of the cell with the ``trail`` symbol; -1 without one."""
        index = [symbol.name == self.trail for symbol in self.symbols]
        cells = np.array(index)[self.grid].reshape(len(self.grid), -1)
        return np.where(cells.any(axis=1), cells.argmax(axis=1), -1)

    @cached_property
    def caption_width(self) -> int:
        """Columns of the longest caption in a terminal."""
        return max(map(cell_len, self.captions))

    def path_to(self, step: int, rewards: NDArray[np.floating]) -> NDArray[np.int64]:
        """(n, 2) row and column of the trail since the last positive reward, the present one last.

        Args:
            step: from 0.
            rewards: (T,) of the episode.
        """
        rewarded = np.flatnonzero(rewards[:step] > 0)
        start = int(rewarded[-1]) + 1 if len(rewarded) else 0
        places = self.places[start : step + 1]
        return np.stack(np.divmod(places[places >= 0], self.grid.shape[2]), axis=1)


def _check_symbol(symbol: Symbol) -> None:
    check_line("symbol", symbol.name, _LONGEST_NAME)
    check_line("text of a symbol", symbol.text, 1)
    if cell_len(symbol.text) != 1:
        raise ValueError(f"text of a symbol must be one character, not {symbol.text!r}")
    if symbol.shape not in SHAPES or symbol.color not in COLORS:
        raise ValueError(
            f"symbol {symbol.name!r} must have one of the shapes {', '.join(SHAPES)} and one of "
            f"the colors {', '.join(COLORS)}, not {symbol.shape!r:.60} and {symbol.color!r:.60}"
        )


def check_line(name: str, text: str, longest: int) -> None:
    """Raise ``ValueError`` unless ``text`` is a short line without escape codes.

    A terminal would obey the escape codes in a file.
    """
    if not (isinstance(text, str) and text.isprintable() and len(text) <= longest):
        line = f"one line of printable text of at most {longest} characters"
        raise ValueError(f"{name} must be {line}, not {text!r:.60}")
