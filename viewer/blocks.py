"""Pictures as terminal text, with two rows of pixels, or of a matrix, in one row of characters."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.color import Color
from rich.style import Style
from rich.text import Text

from plasticrl.viewer import theme

_SHADES = " ░▒▓█"


def style(color: theme.Color, bold: bool = False) -> Style:
    """Return a style with a foreground color."""
    return Style(color=Color.from_rgb(*color), bold=bold)


def half_blocks(pixels: NDArray[np.uint8]) -> list[Text]:
    """Draw pixels (h, w, 3) as lines of ▀, each with a color for the upper and the lower pixel."""
    if len(pixels) % 2:
        pixels = np.concatenate([pixels, pixels[-1:]])
    lines = []
    for upper, lower in zip(pixels[::2].tolist(), pixels[1::2].tolist(), strict=True):
        line = Text()
        for above, below in zip(upper, lower, strict=True):
            line.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        lines.append(line)
    return lines


def shaded(sizes: NDArray[np.floating]) -> list[Text]:
    """Draw sizes (h, w) in [0, 1] as shades without colors, the larger of every two rows."""
    if len(sizes) % 2:
        sizes = np.concatenate([sizes, sizes[-1:]])
    levels = np.rint(np.maximum(sizes[::2], sizes[1::2]) * (len(_SHADES) - 1)).astype(int)
    return [Text("".join(_SHADES[level] for level in row)) for row in levels]


def picture(frame: NDArray[np.uint8], columns: int, rows: int, no_color: bool) -> list[Text]:
    """Draw a frame (h, w, 3) as large as fits into ``columns`` x ``rows`` characters."""
    height, width = frame.shape[:2]
    scale = min(columns / width, 2 * rows / height)
    size = max(1, int(width * scale)), max(1, int(height * scale))
    small: NDArray[Any] = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX))
    return shaded(1 - small.mean(axis=2) / 255) if no_color else half_blocks(small)
