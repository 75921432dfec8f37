"""The embedded glyphs of many scripts, each image with a new random distortion.

Every image samples a new affine map, elastic field and stroke threshold:

    position   p' = A p + s + e(p)                       A: rotation, scale, shear;  s: shift;
                                                         e: elastic field
    ink        x(p) = sigmoid( SHARPNESS (g(p') - h) )   g: the blurred glyph;  h: the threshold

A low threshold h gives a thick stroke, a high one a thin stroke.
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
from plasticrl.tasks.omniglot.config import GLYPHS, GLYPHS_INDEX

CELL, COLUMNS = 40, 33
"""Side of a glyph's cell in pixels, and number of cells in a row of the file."""
BLUR = 1.2
"""Standard deviation in pixels of the file."""
SHARPNESS = 20.0
THRESHOLD = (0.3, 0.55)
"""Range of the threshold h."""
ROTATION = 0.35
"""Largest rotation to either side, in radians."""
SCALE = (0.8, 1.15)
"""Range of the scale of each axis."""
SHEAR = 0.25
SHIFT = 0.2
"""Largest shift to either side, in units of half a cell."""
ELASTIC = 0.06
"""Standard deviation of the field at each control point, in units of half a cell."""
N_POINTS = 5
"""Control points of the elastic field along each axis."""


class Script(NamedTuple):
    """A script; its letters are the classes from ``first`` on."""

    name: str
    held_out: bool
    letters: str
    first: int


class Glyphs(Characters):
    """The embedded glyphs, on a device.

    Raises:
        DataError: a file of the package is missing or altered.
    """

    def __init__(self, device: str) -> None:
        self.scripts = read_scripts()
        self.cells = blurred(read_glyphs(sum(len(script.letters) for script in self.scripts)))
        self.cells = self.cells.to(device)
        held_out, training = (
            [script for script in self.scripts if script.held_out == is_held_out]
            for is_held_out in (True, False)
        )
        training_classes, held_out_classes = class_indices(training), class_indices(held_out)
        split = (
            f"by script: {len(training_classes):,} letters of {len(training)} scripts to train "
            f"on, {len(held_out_classes):,} of {len(held_out)} others held out"
        )
        data = DataRecord(GLYPHS.name, "1", GLYPHS.sha256, split)
        super().__init__(data, training_classes.to(device), held_out_classes.to(device))

    def draw(self, classes: Tensor, generator: Generator) -> Tensor:
        """Draw images, each with its own random distortion."""
        grid = sampling_grid(classes.numel(), generator)
        cells = self.cells[classes.flatten()].unsqueeze(1)
        shades = F.grid_sample(cells, grid, align_corners=False)
        threshold = _uniform(THRESHOLD, classes.numel(), generator).view(-1, 1, 1, 1)
        ink = torch.sigmoid(SHARPNESS * (shades - threshold))
        return ink.view(*classes.shape, IMAGE_SIZE, IMAGE_SIZE)


def read_scripts() -> list[Script]:
    """The scripts, in the order of their glyphs in the file."""
    scripts: list[Script] = []
    first = 0
    for entry in json.loads(GLYPHS_INDEX.read()):
        scripts.append(Script(entry["name"], entry["held_out"], entry["letters"], first))
        first += len(entry["letters"])
    return scripts


def read_glyphs(n_glyphs: int) -> Tensor:
    """Read the glyphs (n_glyphs, CELL, CELL); ink is 1 on a background of 0."""
    pixels: Any = np.asarray(Image.open(io.BytesIO(GLYPHS.read())), dtype=np.float32) / 255
    rows = torch.from_numpy(pixels).view(-1, CELL, COLUMNS, CELL)
    return rows.transpose(1, 2).reshape(-1, CELL, CELL)[:n_glyphs]


def class_indices(scripts: list[Script]) -> Tensor:
    """The indices of all classes of some scripts."""
    return torch.cat([torch.arange(s.first, s.first + len(s.letters)) for s in scripts])


def blurred(glyphs: Tensor) -> Tensor:
    """Blur glyphs (n, H, W) with a Gaussian of standard deviation BLUR."""
    radius = math.ceil(3 * BLUR)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1.0) / BLUR).square())
    kernel /= kernel.sum()
    images = glyphs.unsqueeze(1)
    images = F.conv2d(images, kernel.view(1, 1, 1, -1), padding=(0, radius))
    images = F.conv2d(images, kernel.view(1, 1, -1, 1), padding=(radius, 0))
    return images.squeeze(1)


def sampling_grid(n_images: int, generator: Generator) -> Tensor:
    """The position in the glyph's cell of each pixel, (n, 31, 31, 2), for ``grid_sample``."""
    device = generator.device
    angle = _uniform((-ROTATION, ROTATION), n_images, generator)
    shear = _uniform((-SHEAR, SHEAR), n_images, generator)
    x_scale, y_scale = (1 / _uniform(SCALE, n_images, generator) for _ in range(2))
    x, y = (_uniform((-SHIFT, SHIFT), n_images, generator) for _ in range(2))
    cos, sin = angle.cos(), angle.sin()
    entries = [
        *(x_scale * cos, x_scale * (shear * cos - sin), x),
        *(y_scale * sin, y_scale * (shear * sin + cos), y),
    ]
    affine = torch.stack(entries, dim=1).view(-1, 2, 3)
    grid = F.affine_grid(affine, [n_images, 1, IMAGE_SIZE, IMAGE_SIZE], align_corners=False)
    points = torch.randn(n_images, 2, N_POINTS, N_POINTS, generator=generator, device=device)
    field = F.interpolate(
        ELASTIC * points, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bicubic", align_corners=True
    )
    return grid + field.permute(0, 2, 3, 1)


def _uniform(limits: tuple[float, float], n: int, generator: Generator) -> Tensor:
    low, high = limits
    return low + (high - low) * torch.rand(n, generator=generator, device=generator.device)
