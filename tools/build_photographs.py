"""Build ``photographs.png`` from the photographs that ``ATTRIBUTION.md`` lists.

    python -m tools.build_photographs SKIMAGE_DATA BACKGROUNDS photographs.png

SKIMAGE_DATA is the folder ``skimage/data`` of scikit-image 0.26.0's wheel, BACKGROUNDS the folder
``usr/share/backgrounds`` of Debian's lomiri-wallpapers-16.04 20.04.0-2. The channels of each
photograph are averaged. It is shrunk to several sizes and cut into patches that do not overlap.
Patches of low contrast are left out, and a random choice of those of the largest size is kept. The
script prints the table for ``photographs.py`` and the checksum for ``config.py``.
"""

import hashlib
import sys
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
from PIL import Image

from plasticrl.tasks.images.config import STORED as SIDE
from plasticrl.tasks.images.photographs import PER_ROW

SOURCES = (
    ("astronaut", "astronaut.png"),
    ("camera", "camera.png"),
    ("chelsea", "chelsea.png"),
    ("coffee", "coffee.png"),
    ("rocket", "rocket.jpg"),
    ("aitzgorri", "aitzgorri_by_Aitzol_Berasategi.jpg"),
    ("friends", "friends_by_Aitzol_Berasategi.jpg"),
    ("life", "life_by_Aitzol_Berasategi.jpg"),
    ("picosdeeuropa", "picosdeeuropa_by_Aitzol_Berasategi.jpg"),
    ("picture-0b", "Picture_0B_by_freespace.jpg"),
    ("picture-1a", "Picture_1A_by_freespace.jpg"),
    ("seeding", "seeding_by_Clements_Engelhardt.jpg"),
    ("sunset", "sunset_by_Aitzol_Berasategi.jpg"),
    ("wine", "Wine_by_Jakkub_Mede.jpg"),
)
LONG_SIDES = (192, 384, 640)
"""The sizes to which a photograph's longer side is shrunk; none is enlarged."""
MAX_PER_PHOTOGRAPH = 250
"""Largest number of patches of a photograph."""
MIN_CONTRAST = 10.0
"""Smallest standard deviation of a patch, whose values are from 0 to 255."""
SEED = 0

GrayPatch = npt.NDArray[np.uint8]


def patches(path: Path) -> list[GrayPatch]:
    """Cut a photograph into patches, those of the smallest size first."""
    with Image.open(path) as image:
        colors = np.asarray(image.convert("RGB"), dtype=np.float32)
    gray = Image.fromarray(colors.mean(axis=2).round().astype(np.uint8))
    kept: list[GrayPatch] = []
    for side in LONG_SIDES:
        if side > max(gray.size):
            break
        scale = side / max(gray.size)
        width, height = (round(n * scale) for n in gray.size)
        small = np.asarray(gray.resize((width, height), Image.Resampling.LANCZOS))
        cut = [
            small[y : y + SIDE, x : x + SIDE]
            for y in range(0, height - SIDE + 1, SIDE)
            for x in range(0, width - SIDE + 1, SIDE)
        ]
        cut = [patch for patch in cut if patch.std() >= MIN_CONTRAST]
        room = MAX_PER_PHOTOGRAPH - len(kept)
        if len(cut) > room:
            cut = [cut[i] for i in sorted(Random(SEED).sample(range(len(cut)), room))]
        kept += cut
    return kept


def main(skimage_data: Path, backgrounds: Path, sheet_path: Path) -> None:
    """Write the image file and print its table."""
    all_patches: list[GrayPatch] = []
    for name, file in SOURCES:
        folder = skimage_data if (skimage_data / file).exists() else backgrounds
        of_photograph = patches(folder / file)
        print(f'    Photograph("{name}", {len(of_photograph)}),')
        all_patches += of_photograph
    n_rows = -(-len(all_patches) // PER_ROW)
    sheet = np.zeros((n_rows * SIDE, PER_ROW * SIDE), np.uint8)
    for i, patch in enumerate(all_patches):
        y, x = divmod(i, PER_ROW)
        sheet[y * SIDE : (y + 1) * SIDE, x * SIDE : (x + 1) * SIDE] = patch
    Image.fromarray(sheet).save(sheet_path, optimize=True)
    contents = sheet_path.read_bytes()
    print(f"{len(all_patches)} patches, {len(contents)} bytes")
    print(hashlib.sha256(contents).hexdigest())


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*(Path(argument) for argument in sys.argv[1:]))
