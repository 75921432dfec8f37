"""The embedded stand-in: glyphs of many scripts, written anew by a random hand each time.

From a glyph's square of the sheet, with a new affine map, elastic field and pen for every image:

    place   p' = A p + s + e(p)                          A: turn, scale, shear;  s: shift;  e: field
    ink     x(p) = sigmoid( SHARPNESS (g(p') - h) )      g: the blurred glyph;  h: the pen

A low h is a thick stroke, a high one a thin one.
"""

import io
import json
import math
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

from plasticrl.tasks.data import DataRecord
from plasticrl.tasks.omniglot.characters import IMAGE_SIZE, Characters
from plasticrl.tasks.omniglot.config import INDEX, SHEET

CELL, COLUMNS = 40, 33
"""Pixels of a glyph's square; squares side by side."""
BLUR = 1.2
"""Standard deviation, in pixels of the sheet."""
SHARPNESS = 20.0
PEN = (0.3, 0.55)
TURN = 0.35
"""Radians to either side."""
SIZE = (0.8, 1.15)
"""Of either axis."""
SHEAR = 0.25
SHIFT = 0.2
"""To either side, in units of half a square."""
ELASTIC = 0.06
"""Standard deviation at each of 5 x 5 points, in units of half a square."""
POINTS = 5


class Script(NamedTuple):
    """A script's classes are numbered on from ``first``."""

    name: str
    held_out: bool
    letters: str
    first: int


class Glyphs(Characters):
    """The sheet, on a device.

    Raises:
        DataError: for an altered file of the package.
    """

    def __init__(self, device: str) -> None:
        self.scripts = read_scripts()
        self.cells = blurred(read_sheet(sum(len(script.letters) for script in self.scripts)))
        self.cells = self.cells.to(device)
        held_out, training = (
            [script for script in self.scripts if script.held_out == side] for side in (True, False)
        )
        split = (
            f"by script: {len(numbers(training)):,} letters of {len(training)} scripts to train "
            f"on, {len(numbers(held_out)):,} of {len(held_out)} others held out"
        )
        data = DataRecord(SHEET.name, "1", SHEET.sha256, split)
        super().__init__(data, numbers(training).to(device), numbers(held_out).to(device))

    def draw(self, classes: Tensor, generator: Generator) -> Tensor:
        """Every image is a drawing of its own."""
        grid = places(classes.numel(), generator)
        cells = self.cells[classes.flatten()].unsqueeze(1)
        shades = F.grid_sample(cells, grid, align_corners=False)
        pen = _uniform(PEN, classes.numel(), generator).view(-1, 1, 1, 1)
        ink = torch.sigmoid(SHARPNESS * (shades - pen))
        return ink.view(*classes.shape, IMAGE_SIZE, IMAGE_SIZE)


def read_scripts() -> list[Script]:
    """The scripts in the order of the sheet."""
    scripts: list[Script] = []
    first = 0
    for entry in json.loads(INDEX.read()):
        scripts.append(Script(entry["name"], entry["held_out"], entry["letters"], first))
        first += len(entry["letters"])
    return scripts


def read_sheet(n_glyphs: int) -> Tensor:
    """Glyphs (n_glyphs, CELL, CELL), ink 1 on 0."""
    pixels: Any = np.asarray(Image.open(io.BytesIO(SHEET.read())), dtype=np.float32) / 255
    rows = torch.from_numpy(pixels).view(-1, CELL, COLUMNS, CELL)
    return rows.transpose(1, 2).reshape(-1, CELL, CELL)[:n_glyphs]


def numbers(scripts: list[Script]) -> Tensor:
    """Classes of some scripts."""
    return torch.cat([torch.arange(one.first, one.first + len(one.letters)) for one in scripts])


def blurred(glyphs: Tensor) -> Tensor:
    """Glyphs (n, H, W) through a Gaussian of deviation BLUR."""
    reach = math.ceil(3 * BLUR)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1.0) / BLUR).square())
    line /= line.sum()
    images = glyphs.unsqueeze(1)
    images = F.conv2d(images, line.view(1, 1, 1, -1), padding=(0, reach))
    images = F.conv2d(images, line.view(1, 1, -1, 1), padding=(reach, 0))
    return images.squeeze(1)


def places(n_images: int, generator: Generator) -> Tensor:
    """Where each pixel looks on its glyph's square (n, 31, 31, 2), for ``grid_sample``."""
    device = generator.device
    turn = _uniform((-TURN, TURN), n_images, generator)
    shear = _uniform((-SHEAR, SHEAR), n_images, generator)
    wide, high = (1 / _uniform(SIZE, n_images, generator) for _ in range(2))
    shift = (_uniform((-SHIFT, SHIFT), n_images, generator) for _ in range(2))
    x, y = shift
    cos, sin = turn.cos(), turn.sin()
    rows = [wide * cos, wide * (shear * cos - sin), x, high * sin, high * (shear * sin + cos), y]
    affine = torch.stack(rows, dim=1).view(-1, 2, 3)
    grid = F.affine_grid(affine, [n_images, 1, IMAGE_SIZE, IMAGE_SIZE], align_corners=False)
    points = torch.randn(n_images, 2, POINTS, POINTS, generator=generator, device=device)
    field = F.interpolate(
        ELASTIC * points, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bicubic", align_corners=True
    )
    return grid + field.permute(0, 2, 3, 1)


def _uniform(limits: tuple[float, float], n: int, generator: Generator) -> Tensor:
    low, high = limits
    return low + (high - low) * torch.rand(n, generator=generator, device=generator.device)
