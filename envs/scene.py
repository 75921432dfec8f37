"""A scene: what is to be seen of an environment at one moment, as plain data.

An environment describes its scene once, and everything that draws (the ``rgb_array`` and ``ansi``
renderings here, and every viewer) draws any scene. A scene is a grid of cells. Every cell holds the
index of a symbol, and a symbol says how its cells look in words that each renderer translates into
its own colors and shapes.
"""

from typing import NamedTuple

from plasticrl.envs.arrays import HostArray

COLORS = ("wall", "agent", "goal", "cue", "positive", "negative", "muted")
"""Names of colors. Every renderer has a shade of its own for each."""
SHAPES = ("empty", "block", "tile", "disc", "ring", "up", "down", "left", "right")
"""What fills a cell: nothing, all of it, a square, a circle, a ring with a dot, or a triangle."""


class Symbol(NamedTuple):
    """One kind of cell."""

    name: str  # unique in its scene, such as "wall"
    text: str = " "  # one printable character, for terminals
    shape: str = "empty"  # one of SHAPES
    color: str = "muted"  # one of COLORS
    faint: bool = False  # drawn pale, for what the agent cannot see at this step


class Scene(NamedTuple):
    """What is to be seen at one moment. All but ``grid`` and ``caption`` last for an episode."""

    symbols: tuple[Symbol, ...]
    grid: HostArray  # (height, width) uint8, indices into ``symbols``
    caption: str = ""  # one line of text about this moment
    actions: tuple[str, ...] = ()  # the actions' names, in order
    trail: str = ""  # name of the symbol whose path since the last reward is drawn, if any
    goal: str = ""  # name of the symbol that lights up when a positive reward is earned, if any
