"""Renderings of scenes: ``rgb_array`` frames (height, width, 3) uint8, and ``ansi`` texts.

A shape is drawn through its signed distance d (in pixels, negative inside): the paint covers
clip(1/2 - d, 0, 1) of each pixel, which smooths the edges.
"""

import numpy as np

from plasticrl.envs.arrays import Frame, HostArray
from plasticrl.envs.scene import Scene, Symbol

Color = tuple[int, int, int]
Point = tuple[float, float]

PAPER: Color = (250, 248, 243)
INK: Color = (47, 54, 70)
FLOOR: Color = (236, 232, 223)
FAINT: Color = (216, 211, 200)
WRONG: Color = (203, 62, 66)
COLORS: dict[str, Color] = {
    "wall": INK,
    "agent": (226, 101, 60),
    "goal": (46, 148, 108),
    "cue": (124, 88, 190),
    "positive": (61, 113, 184),
    "negative": (238, 186, 88),
    "muted": (160, 160, 158),
}

LONGEST_SIDE = 384  # pixels across the grid, about
SMALLEST_SIDE = 160  # pixels of a frame
FOOTER = 24  # pixels below the grid, for the time and the last reward
DIRECTIONS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}  # as (x, y)


class Canvas:
    """A picture to paint on; positions and sizes are (x, y) in pixels."""

    def __init__(self, width: int, height: int, color: Color = PAPER) -> None:
        self.pixels: HostArray = np.full((height, width, 3), color, dtype=np.float64)

    def box(self, center: Point, half: Point, radius: float, color: Color) -> None:
        """Fill a box with round corners; ``half`` is half its width and height."""
        y, x, part = self._near(center, half)
        beyond_x = np.abs(x - center[0]) - half[0] + radius
        beyond_y = np.abs(y - center[1]) - half[1] + radius
        outside = np.hypot(np.maximum(beyond_x, 0), np.maximum(beyond_y, 0))
        distance = outside + np.minimum(np.maximum(beyond_x, beyond_y), 0) - radius
        _paint(part, distance, color)

    def disc(self, center: Point, radius: float, color: Color) -> None:
        """Fill a circle."""
        self.box(center, (radius, radius), radius, color)

    def triangle(self, center: Point, radius: float, toward: Point, color: Color) -> None:
        """Fill a triangle with its tip toward (x, y), one of ``DIRECTIONS``."""
        y, x, part = self._near(center, (radius, radius))
        along = (x - center[0]) * toward[0] + (y - center[1]) * toward[1]
        across = np.abs((x - center[0]) * toward[1] + (y - center[1]) * toward[0])
        side = (2 * across + along - radius) / np.sqrt(5.0)
        _paint(part, np.maximum(side, -along - 0.8 * radius), color)

    def frame(self) -> Frame:
        """The finished picture."""
        return np.rint(self.pixels).astype(np.uint8)

    def _near(self, center: Point, half: Point) -> tuple[HostArray, HostArray, HostArray]:
        """The pixels that a shape can touch: their y, their x, and the part of the picture."""
        left, right = _span(center[0], half[0], self.pixels.shape[1])
        top, bottom = _span(center[1], half[1], self.pixels.shape[0])
        y, x = np.mgrid[top:bottom, left:right] + 0.5
        return y, x, self.pixels[top:bottom, left:right]


def _span(center: float, half: float, size: int) -> tuple[int, int]:
    return max(int(center - half) - 1, 0), min(int(center + half) + 3, size)


def _paint(part: HostArray, distance: HostArray, color: Color) -> None:
    cover = np.clip(0.5 - distance, 0.0, 1.0)[..., None]
    part += cover * (np.array(color) - part)


def draw_frame(scene: Scene, reward: float, step: int, episode_length: int) -> Frame:
    """Draw a scene, and below it the time that has passed and a light for the last reward.

    The light is green for a positive reward, red for a negative one and gray for none. The scene's
    goal is lit when the last reward was positive. The sides are even, as video codecs want them.
    """
    rows, columns = scene.grid.shape
    cell = max(6, min(32, LONGEST_SIDE // max(rows, columns) // 2 * 2))
    width = max(columns * cell, SMALLEST_SIDE)
    height = max(rows * cell, SMALLEST_SIDE - FOOTER)
    canvas = Canvas(width, height + FOOTER)
    left, top = (width - columns * cell) // 2, (height - rows * cell) // 2
    floor = canvas.pixels[top : top + rows * cell, left : left + columns * cell]
    floor[:] = FLOOR
    floor[::cell] = floor[:, ::cell] = FAINT
    for (row, column), index in np.ndenumerate(scene.grid):
        symbol = scene.symbols[index]
        center = left + (column + 0.5) * cell, top + (row + 0.5) * cell
        _draw_cell(canvas, symbol, center, cell, lit=reward > 0 and symbol.name == scene.goal)
    _draw_footer(canvas, height + FOOTER / 2, step / episode_length, reward)
    return canvas.frame()


def _draw_cell(canvas: Canvas, symbol: Symbol, center: Point, cell: int, lit: bool) -> None:
    color = COLORS[symbol.color]
    pale = _mixed(color, FLOOR, 0.75)
    if symbol.faint:
        color = _mixed(color, FLOOR, 0.6)
    if symbol.shape == "block":
        canvas.box(center, (cell / 2, cell / 2), 0, color)
    elif symbol.shape == "tile":
        canvas.box(center, (0.42 * cell, 0.42 * cell), 0.12 * cell, color)
    elif symbol.shape == "disc":
        canvas.disc(center, 0.34 * cell, PAPER)
        canvas.disc(center, 0.29 * cell, color)
    elif symbol.shape == "ring":
        canvas.box(center, (0.45 * cell, 0.45 * cell), 0.2 * cell, color if lit else pale)
        canvas.disc(center, 0.28 * cell, PAPER if lit else color)
        canvas.disc(center, 0.13 * cell, color if lit else pale)
    elif symbol.shape in DIRECTIONS:
        canvas.triangle(center, 0.4 * cell, DIRECTIONS[symbol.shape], color)


def _mixed(color: Color, other: Color, share: float) -> Color:
    """``color`` with ``share`` of the other one in it."""
    red, green, blue = (
        round(one + share * (two - one)) for one, two in zip(color, other, strict=True)
    )
    return red, green, blue


def _draw_footer(canvas: Canvas, y: float, time: float, reward: float) -> None:
    """A line of which the share ``time`` has passed, and at its right the reward's light."""
    margin, light = 10, 20
    width = canvas.pixels.shape[1] - 2 * margin - light
    canvas.box((margin + width / 2, y), (width / 2, 3), 3, FAINT)
    if time > 0:
        done = max(width * time, 6)
        canvas.box((margin + done / 2, y), (done / 2, 3), 3, INK)
    color = FAINT if reward == 0 else COLORS["goal"] if reward > 0 else WRONG
    canvas.disc((margin + width + light - 7, y), 7, color)


def draw_text(scene: Scene, reward: float, step: int, episode_length: int) -> str:
    """Write a scene as text, two columns to a cell, and below it the caption and the numbers."""
    texts = np.array([2 * s.text if s.shape == "block" else s.text + " " for s in scene.symbols])
    lines = ["".join(row).rstrip() for row in texts[scene.grid]]
    numbers = f"step {step}/{episode_length}  reward {reward:+g}"
    return "\n".join([*lines, *([scene.caption] if scene.caption else []), numbers])
