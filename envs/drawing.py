"""Pictures of the environments, in numpy alone: frames (height, width, 3) uint8 and short texts.

A shape is drawn through its signed distance d (in pixels, negative inside): the paint covers
clip(1/2 - d, 0, 1) of each pixel, which smooths the edges.
"""

from typing import NamedTuple

import numpy as np

from plasticrl.envs.arrays import Frame, HostArray

Colour = tuple[int, int, int]

PAPER: Colour = (250, 248, 243)
INK: Colour = (47, 54, 70)
FLOOR: Colour = (236, 232, 223)
FAINT: Colour = (216, 211, 200)
AGENT: Colour = (226, 101, 60)
GOAL: Colour = (46, 148, 108)
GOAL_GLOW: Colour = (205, 229, 214)
PLUS: Colour = (61, 113, 184)
MINUS: Colour = (238, 186, 88)
WRONG: Colour = (203, 62, 66)

SIDE = 384  # pixels across a maze, about
MAX_TILES = 40  # bits of a cue that a frame has room for
MAX_LINES = 12  # cues that a frame has room for


class Canvas:
    """A picture to paint on; positions and sizes are (x, y) in pixels."""

    def __init__(self, width: int, height: int, colour: Colour = PAPER) -> None:
        self.pixels: HostArray = np.full((height, width, 3), colour, dtype=np.float64)

    def box(
        self, centre: tuple[float, float], half: tuple[float, float], radius: float, colour: Colour
    ) -> None:
        """Fill a box with round corners, `half` its half width and height."""
        left, right = _span(centre[0], half[0], self.pixels.shape[1])
        top, bottom = _span(centre[1], half[1], self.pixels.shape[0])
        y, x = np.mgrid[top:bottom, left:right] + 0.5
        beyond_x = np.abs(x - centre[0]) - half[0] + radius
        beyond_y = np.abs(y - centre[1]) - half[1] + radius
        outside = np.hypot(np.maximum(beyond_x, 0), np.maximum(beyond_y, 0))
        distance = outside + np.minimum(np.maximum(beyond_x, beyond_y), 0) - radius
        cover = np.clip(0.5 - distance, 0.0, 1.0)[..., None]
        part = self.pixels[top:bottom, left:right]
        part += cover * (np.array(colour) - part)

    def disc(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        """Fill a circle."""
        self.box(centre, (radius, radius), radius, colour)

    def bar(self, part: float, y: float, margin: float) -> None:
        """A line across the picture of which `part` (0 to 1) has passed."""
        width = self.pixels.shape[1] - 2 * margin
        self.box((margin + width / 2, y), (width / 2, 3), 3, FAINT)
        if part > 0:
            done = max(width * part, 6)
            self.box((margin + done / 2, y), (done / 2, 3), 3, INK)

    def frame(self) -> Frame:
        """The finished picture."""
        return np.rint(self.pixels).astype(np.uint8)


def _span(centre: float, half: float, size: int) -> tuple[int, int]:
    """The pixels that a shape can touch along one axis."""
    return max(int(centre - half) - 1, 0), min(int(centre + half) + 3, size)


def maze_frame(
    walls: HostArray, agent: HostArray, goal: HostArray, hit: bool, part: float
) -> Frame:
    """Picture a maze: walls, the goal (it lights up when it has just been hit), agent, time bar.

    Args:
        walls: (size, size).
        agent, goal: (2,) row and column.
        hit: the last step was paid.
        part: of the episode that has passed, 0 to 1.
    """
    cell = max(6, min(32, SIDE // len(walls) // 2 * 2))  # even, as video codecs want a frame
    side = cell * len(walls)
    canvas = Canvas(side, side + 24)
    canvas.pixels[:side] = np.where(_enlarged(walls, cell)[..., None], INK, FLOOR)
    edge = np.zeros(side, dtype=np.bool_)
    edge[::cell] = True
    lines = (edge[:, None] | edge) & ~_enlarged(walls, cell)
    canvas.pixels[:side][lines] = FAINT

    def middle(place: HostArray) -> tuple[float, float]:
        return (float(place[1]) + 0.5) * cell, (float(place[0]) + 0.5) * cell

    canvas.box(middle(goal), (0.45 * cell, 0.45 * cell), 0.2 * cell, GOAL if hit else GOAL_GLOW)
    canvas.disc(middle(goal), 0.28 * cell, PAPER if hit else GOAL)
    canvas.disc(middle(goal), 0.13 * cell, GOAL if hit else GOAL_GLOW)
    canvas.disc(middle(agent), 0.34 * cell, PAPER)
    canvas.disc(middle(agent), 0.29 * cell, AGENT)
    canvas.bar(part, side + 12, margin=10)
    return canvas.frame()


def _enlarged(cells: HostArray, factor: int) -> HostArray:
    return cells.repeat(factor, axis=0).repeat(factor, axis=1)


def maze_text(
    walls: HostArray,
    agent: HostArray,
    goal: HostArray,
    reward: float,
    step: int,
    episode_length: int,
) -> str:
    """Write a maze: walls █, free cells ·, goal ◎, agent ●, two columns to a cell."""
    cells = np.where(walls, "██", "· ")
    cells[tuple(goal)] = "◎ "
    cells[tuple(agent)] = "● "
    lines = ["".join(line) for line in cells]
    return "\n".join([*lines, f"step {step}/{episode_length}  reward {reward:+g}"])


class CuePicture(NamedTuple):
    """What a picture of the cue-reward task shows."""

    sight: HostArray  # (bits,) in sight, all zero for a blank
    cues: HostArray  # (n_cues, bits) of the episode
    target: int
    cue: int  # index of the cue in sight, -1 for none
    go: bool
    reward: float  # of the last step
    step: int
    episode_length: int


def cue_frame(picture: CuePicture) -> Frame:
    """Picture the task: what is in sight and the go light above, the episode's cues below.

    A round mark stands before the target, a light box behind the cue in sight. The small light on
    the right shows the last reward: green +1, red -1, grey none. +1 is blue, -1 yellow.
    """
    cues, sight = picture.cues[:MAX_LINES, :MAX_TILES], picture.sight[:MAX_TILES]
    bits = len(sight)
    tile, left = 18, 34
    strip = tile * max(bits, 6)
    width, height = left + strip + 84, 104 + 24 * len(cues) + 30
    canvas = Canvas(width, height)
    canvas.box((left + strip / 2, 44), (strip / 2 + 8, 26), 10, INK)
    _tiles(canvas, sight, left, 44, tile, half_height=15)
    canvas.disc((left + strip + 46, 44), 24, INK)
    canvas.disc((left + strip + 46, 44), 18, (96, 210, 140) if picture.go else (84, 92, 110))
    for index, cue in enumerate(cues):
        y = 104 + 24 * index
        if index == picture.cue:
            canvas.box((left + strip / 2, y), (strip / 2 + 8, 12), 6, FAINT)
        if index == picture.target:
            canvas.disc((left - 19, y), 6, AGENT)
        _tiles(canvas, cue, left, y, tile, half_height=8)
    light = FAINT if picture.reward == 0 else GOAL if picture.reward > 0 else WRONG
    canvas.disc((left + strip + 46, 104), 12, light)
    canvas.bar(picture.step / picture.episode_length, height - 18, margin=left - 8)
    return canvas.frame()


def _tiles(
    canvas: Canvas, bits: HostArray, left: float, y: float, tile: int, half_height: float
) -> None:
    for place, bit in enumerate(bits):
        colour = PLUS if bit > 0 else MINUS if bit < 0 else (96, 104, 122)
        centre = (left + (place + 0.5) * tile, y)
        canvas.box(centre, (tile / 2 - 1.5, half_height), 3, colour)


def cue_text(picture: CuePicture) -> str:
    """Write the task: the cue in sight, the go signal, the target; +1 is ■, -1 □, 0 ·."""
    lines = [
        f"{_bit_text(picture.sight)}  {'GO' if picture.go else '  '}  reward {picture.reward:+g}",
        f"{_bit_text(picture.cues[picture.target])}  is the target",
        f"step {picture.step}/{picture.episode_length}",
    ]
    return "\n".join(lines)


def _bit_text(bits: HostArray) -> str:
    return "".join("■" if bit > 0 else "□" if bit < 0 else "·" for bit in bits)
