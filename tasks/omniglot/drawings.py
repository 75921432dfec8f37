"""The real Omniglot: 1,623 characters, 20 people's drawings of each, from its zips or folders.

``PART/ALPHABET/characterNN/NAME.png``, 105 x 105 black on white, in two parts. The zips are read as
they are, nothing is unpacked. Characters are sorted by name; which ones are held out depends on
their names alone. Source: Lake, Salakhutdinov & Tenenbaum 2015, Science 350.
"""

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor

from plasticrl.tasks.data import DataError, DataRecord, sha256_of
from plasticrl.tasks.omniglot.characters import IMAGE_SIZE, Characters
from plasticrl.tasks.omniglot.config import DRAWINGS, OMNIGLOT

PARTS = dict(zip(OMNIGLOT.unpacked_folders, (964, 659), strict=True))
"""Characters of each part."""
HELD_OUT = 100
"""Characters; DP 2018."""
SPLIT_SEED = 0
SIDE = 105
HEADER = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR" + 2 * SIDE.to_bytes(4, "big")
"""How a PNG of that size begins."""
MOST_BYTES = 1 << 16
"""Of a drawing; the largest are near 500."""
MOST_FILES = 100_000
"""Of a zip; those of Omniglot are near 20,000."""
NAME = re.compile(r"\w+/[^/]+/character\d\d/[^/]+\.png")
BAD_ZIP = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, ValueError)
BAD_PNG = (OSError, SyntaxError, ValueError, zlib.error)


class Drawings(Characters):
    """All drawings, on a device.

    Args:
        drawings: ink, from 0 to 255, (n, 20, 31, 31).
    """

    def __init__(self, data: DataRecord, names: list[str], drawings: Tensor) -> None:
        held_out, training = (
            torch.tensor(split, device=drawings.device) for split in split_of(names, HELD_OUT)
        )
        super().__init__(data, training, held_out)
        self.drawings = drawings

    def draw(self, classes: Tensor, generator: Generator) -> Tensor:
        """Each image of a row is another person's."""
        keys = torch.rand(len(classes), DRAWINGS, generator=generator, device=generator.device)
        people = keys.topk(classes.shape[1]).indices
        return self.drawings[classes, people].float() / 255


def read_omniglot(data_root: str | None, device: str) -> Drawings:
    """Read both parts: zips with the published checksums, or else folders with the right counts.

    Args:
        data_root: the folder they are in; None: the one that PLASTICRL_DATA names.
        device: where the drawings are kept.

    Raises:
        DataError: nothing is there, or not what it should be; names the file.
    """
    paths = OMNIGLOT.find(data_root)
    if all(path.is_dir() for path in paths):
        checked = "folders, which have no published checksum: counted"
        total = hashlib.sha256()
        for path in paths:
            for name, contents in files_of(path):
                total.update(f"{name}\0{len(contents)}\0".encode() + contents)
        sha256 = total.hexdigest()
    else:
        checked, sha256 = "zips with the published md5", sha256_of(paths)
    characters: dict[str, NDArray[np.uint8]] = {}
    for path, n_characters in zip(paths, PARTS.values(), strict=True):
        characters |= read_part(path, n_characters)
    names = sorted(characters)
    split = (
        f"by character, seed {SPLIT_SEED}: {len(names) - HELD_OUT:,} to train on, "
        f"{HELD_OUT:,} held out"
    )
    drawings = torch.from_numpy(np.stack([characters[name] for name in names]))
    return Drawings(DataRecord(OMNIGLOT.name, checked, sha256, split), names, drawings.to(device))


def read_part(path: Path, n_characters: int) -> dict[str, NDArray[np.uint8]]:
    """Drawings (20, 31, 31) by character, from a zip or a folder.

    Raises:
        DataError: it is damaged, or has other than ``n_characters`` of 20 drawings.
    """
    found: dict[str, list[NDArray[np.uint8]]] = {}
    for name, contents in files_of(path):
        found.setdefault(name.rsplit("/", 1)[0], []).append(_ink(path, name, contents))
    for name, drawings in found.items():
        if len(drawings) != DRAWINGS:
            raise DataError(f"{path}: {name} has {len(drawings)} drawings, not {DRAWINGS}")
    if len(found) != n_characters:
        raise DataError(f"{path} has {len(found):,} characters, not {n_characters:,}")
    return {name: np.stack(drawings) for name, drawings in found.items()}


def files_of(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a part's drawings, sorted by name; other files are passed over.

    Raises:
        DataError: a file that cannot be read, or is far too large.
    """
    return _files_of_folder(path) if path.is_dir() else _files_of_zip(path)


def _files_of_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if NAME.fullmatch(entry.filename)]
            if len(entries) > MOST_FILES:
                raise DataError(f"{path} has {len(entries):,} drawings: more than {MOST_FILES:,}")
            for entry in sorted(entries, key=lambda entry: entry.filename):
                _check_size(path, entry.filename, entry.file_size)
                yield entry.filename, archive.read(entry)
    except DataError:
        raise  # a ValueError too, but with its own words
    except BAD_ZIP as error:
        raise DataError(f"{path} is a damaged zip: {error}") from error


def _files_of_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    names = {file.relative_to(path.parent).as_posix(): file for file in path.glob("*/*/*.png")}
    for name, file in sorted(names.items()):
        if not NAME.fullmatch(name):
            continue
        try:
            _check_size(path, name, file.stat().st_size)
            yield name, file.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {file}: {error.strerror}") from error


def _check_size(path: Path, name: str, n_bytes: int) -> None:
    if n_bytes > MOST_BYTES:
        raise DataError(f"{path}: {name} has {n_bytes:,} bytes, which no drawing has")


def _ink(path: Path, name: str, contents: bytes) -> NDArray[np.uint8]:
    """A drawing, from 0 (paper) to 255 (ink), averaged down to (31, 31)."""
    if not contents.startswith(HEADER):
        raise DataError(f"{path}: {name} is not a PNG of {SIDE} x {SIDE} pixels")
    try:
        with Image.open(io.BytesIO(contents), formats=["PNG"]) as image:
            grey = image.convert("L").resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX)
    except BAD_PNG as error:
        raise DataError(f"{path}: {name} is a damaged PNG: {error}") from error
    return 255 - np.asarray(grey, dtype=np.uint8)


def split_of(names: list[str], n_held_out: int) -> tuple[list[int], list[int]]:
    """Positions of the held-out characters and of the others; by name, so always the same."""

    def key(position: int) -> str:
        return hashlib.sha256(f"{SPLIT_SEED}/{names[position]}".encode()).hexdigest()

    order = sorted(range(len(names)), key=key)
    return sorted(order[:n_held_out]), sorted(order[n_held_out:])
