"""Renderings of scenes: ``rgb_array`` frames (height, width, 3) uint8, and ``ansi`` texts.

A shape is drawn through its signed distance d (in pixels, negative inside): the paint covers the
share clip(1/2 - d, 0, 1) of each pixel, which smooths the edges.
"""

import numpy as np

from plasticrl.envs.arrays import Frame, HostArray
from plasticrl.envs.scene import Scene, Symbol

Color = tuple[int, int, int]

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
TURNS = {"up": 0, "left": 1, "down": 2, "right": 3}  # quarter turns of a triangle


def draw_frame(scene: Scene, reward: float, step: int, episode_length: int) -> Frame:
    """Draw a scene, and below it the time that has passed and a light for the last reward.

    The light is green for a positive reward, red for a negative one and gray for none. The scene's
    goal is lit when the last reward was positive. The sides are even, as video codecs want them.
    """
    rows, columns = scene.grid.shape
    cell = max(6, min(32, LONGEST_SIDE // max(rows, columns) // 2 * 2))
    cells = [_cell(s, cell, lit=reward > 0 and s.name == scene.goal) for s in scene.symbols]
    grid = np.stack(cells)[scene.grid].swapaxes(1, 2).reshape(rows * cell, columns * cell, 3)
    width = max(columns * cell, SMALLEST_SIDE)
    height = max(rows * cell, SMALLEST_SIDE - FOOTER)
    frame: Frame = np.full((height + FOOTER, width, 3), PAPER, dtype=np.uint8)
    top, left = (height - rows * cell) // 2, (width - columns * cell) // 2
    frame[top : top + rows * cell, left : left + columns * cell] = grid
    _draw_footer(frame[height:], step / episode_length, reward)
    return frame


def _cell(symbol: Symbol, size: int, lit: bool) -> Frame:
    """A cell with a symbol, (size, size, 3)."""
    color = np.array(COLORS[symbol.color])
    pale = _mixed(color, FLOOR, 0.75)
    if symbol.faint:
        color = _mixed(color, FLOOR, 0.6)
    bright, dark = (color, PAPER) if lit else (pale, color)
    y, x = (np.indices((size, size)) + 0.5) / size - 0.5
    square, circle = (x**8 + y**8) ** (1 / 8), np.hypot(x, y)
    triangle = np.maximum((2 * abs(x) - y - 0.4) / np.sqrt(5), y - 0.3)
    layers: dict[str, list[tuple[HostArray, HostArray | Color]]] = {
        "empty": [],
        "block": [(square - 1, color)],
        "tile": [(square - 0.42, color)],
        "disc": [(circle - 0.34, PAPER), (circle - 0.29, color)],
        "ring": [(square - 0.45, bright), (circle - 0.28, dark), (circle - 0.13, bright)],
        **{name: [(np.rot90(triangle, turns), color)] for name, turns in TURNS.items()},
    }
    picture: HostArray = np.full((size, size, 3), FLOOR, dtype=np.float64)
    picture[0] = picture[:, 0] = FAINT
    for distance, paint in layers[symbol.shape]:
        picture = _mixed(picture, paint, np.clip(0.5 - size * distance, 0, 1)[..., None])
    return np.rint(picture).astype(np.uint8)


def _mixed(color: HostArray, other: HostArray | Color, share: float | HostArray) -> HostArray:
    """``color`` with ``share`` of the other one in it."""
    mixed: HostArray = color + share * (np.array(other) - color)
    return mixed


def _draw_footer(footer: Frame, time: float, reward: float) -> None:
    """A line of which the share ``time`` has passed, and at its right the reward's light."""
    middle, left, right = FOOTER // 2, 10, footer.shape[1] - 30
    footer[middle - 3 : middle + 3, left:right] = FAINT
    footer[middle - 3 : middle + 3, left : left + round(time * (right - left))] = INK
    light = np.array(FAINT if reward == 0 else COLORS["goal"] if reward > 0 else WRONG)
    y, x = np.indices((FOOTER, FOOTER)) + 0.5 - middle
    cover = np.clip(7.5 - np.hypot(x, y), 0, 1)[..., None]
    footer[:, right + 4 : right + 4 + FOOTER] = np.rint(_mixed(np.array(PAPER), light, cover))


def draw_text(scene: Scene, reward: float, step: int, episode_length: int) -> str:
    """Write a scene as text, two columns to a cell, and below it the caption and the numbers."""
    texts = np.array([2 * s.text if s.shape == "block" else s.text + " " for s in scene.symbols])
    lines = ["".join(row).rstrip() for row in texts[scene.grid]]
    numbers = f"step {step}/{episode_length}  reward {reward:+g}"
    return "\n".join([*lines, *([scene.caption] if scene.caption else []), numbers])
