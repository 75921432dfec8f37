"""The embedded pictures: gray patches of photographs in one image file, split by photograph.

``tools/build_photographs.py`` made the file; ``ATTRIBUTION.md`` names the photographers.
"""

from io import BytesIO
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from plasticrl.tasks.images.config import PHOTOGRAPHS, STORED

PER_ROW = 50
"""Patches in each row of the file."""


class Photograph(NamedTuple):
    """A photograph; its patches are consecutive in the file."""

    name: str
    n_patches: int
    held_out: bool = False


ALL_PHOTOS = (
    Photograph("astronaut", 163),
    Photograph("camera", 99, held_out=True),
    Photograph("chelsea", 104),
    Photograph("coffee", 108, held_out=True),
    Photograph("rocket", 148),
    Photograph("aitzgorri", 199),
    Photograph("friends", 250),
    Photograph("life", 250, held_out=True),
    Photograph("picosdeeuropa", 250),
    Photograph("picture-0b", 235),
    Photograph("picture-1a", 250),
    Photograph("seeding", 227),
    Photograph("sunset", 200),
    Photograph("wine", 250, held_out=True),
)

Pictures = npt.NDArray[np.uint8]


def read() -> tuple[Pictures, Pictures]:
    """The training pictures and the held-out ones, from other photographs, each (n, 32, 32).

    Raises:
        DataError: the file is missing or altered.
    """
    with Image.open(BytesIO(PHOTOGRAPHS.read())) as image:
        sheet = np.asarray(image)
    patches = sheet.reshape(-1, STORED, PER_ROW, STORED).swapaxes(1, 2).reshape(-1, STORED, STORED)
    held_out = np.repeat(
        [photo.held_out for photo in ALL_PHOTOS],
        [photo.n_patches for photo in ALL_PHOTOS],
    )
    used = patches[: len(held_out)]
    return used[~held_out], used[held_out]
