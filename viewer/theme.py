"""The colors that every renderer shares."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]

BACKGROUND: Color = (22, 25, 31)
PANEL: Color = (32, 36, 44)
TEXT: Color = (232, 235, 239)
MUTED: Color = (140, 148, 160)

NEGATIVE: Color = (64, 156, 255)
POSITIVE: Color = (255, 150, 46)

MODULATION: Color = (190, 160, 255)
REWARD: Color = (92, 207, 138)
PUNISHMENT: Color = (240, 96, 96)
AGENT: Color = (255, 122, 72)
WALL: Color = (92, 102, 122)
COLORS: dict[str, Color] = {
    "wall": WALL,
    "agent": AGENT,
    "goal": REWARD,
    "cue": MODULATION,
    "positive": POSITIVE,
    "negative": NEGATIVE,
    "muted": MUTED,
}
"""The colors of a scene's symbols."""

_STEPS = 4
"""Shades on either side of 0 in a heat map, few so that a GIF's palette has them all."""


def diverging(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return colors (..., 3) for ``values`` (...) in [-1, 1]: blue, neutral at 0, orange."""
    # The square root, since most values are small.
    strength = np.rint(np.sqrt(np.abs(values)) * _STEPS)[..., None] / _STEPS
    ends = np.where(values[..., None] < 0, NEGATIVE, POSITIVE)
    colors: NDArray[np.uint8] = np.rint(PANEL + strength * (ends - PANEL)).astype(np.uint8)
    return colors


def dimmed(color: Color, share: float = 0.35) -> Color:
    """Mix ``color`` with the panel's, keeping ``share`` of it: for the future and the faint."""
    red, green, blue = (
        round(panel + share * (c - panel)) for panel, c in zip(PANEL, color, strict=True)
    )
    return red, green, blue


def largest(values: NDArray[Any]) -> float:
    """Return the largest absolute value, or 1 if all are zero."""
    return float(np.abs(values).max()) or 1.0
