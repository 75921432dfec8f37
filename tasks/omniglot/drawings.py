"""The Omniglot data set: 20 drawings of each of 1,623 characters, read from its zips or folders.

It has two parts with files ``PART/ALPHABET/characterNN/NAME.png`` of 105 x 105 pixels, black on
white. The zips are read without unpacking them to disk. Characters are sorted by name, and the
choice of the held-out ones depends only on their names.
Source: Lake, Salakhutdinov & Tenenbaum 2015, Science 350.
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
from plasticrl.tasks.omniglot.config import N_DRAWINGS, OMNIGLOT

PARTS = dict(zip(OMNIGLOT.unpacked_folders, (964, 659), strict=True))
"""Number of characters in each part."""
N_HELD_OUT = 100
"""Number of held-out characters; DP 2018."""
SPLIT_SEED = 0
SIDE = 105
PNG_HEADER = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR" + 2 * SIDE.to_bytes(4, "big")
"""The first bytes of a PNG of that size."""
MAX_BYTES = 1 << 16
"""Largest accepted drawing in bytes; the largest in Omniglot have about 500."""
MAX_FILES = 100_000
"""Largest accepted number of drawings in a zip; those of Omniglot have about 20,000."""
DRAWING_NAME = re.compile(r"\w+/[^/]+/character\d\d/[^/]+\.png")
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, ValueError)
PNG_ERRORS = (OSError, SyntaxError, ValueError, zlib.error)


class Drawings(Characters):
    """All drawings of Omniglot, on a device.

    Args:
        drawings: ink, from 0 to 255, (n, 20, 31, 31).
    """

    def __init__(self, data: DataRecord, names: list[str], drawings: Tensor) -> None:
        held_out, training = (
            torch.tensor(split, device=drawings.device) for split in split_of(names, N_HELD_OUT)
        )
        super().__init__(data, training, held_out)
        self.drawings = drawings

    def draw(self, classes: Tensor, generator: Generator) -> Tensor:
        """Draw images, each in a row by a different person."""
        keys = torch.rand(len(classes), N_DRAWINGS, generator=generator, device=generator.device)
        people = keys.topk(classes.shape[1]).indices
        return self.drawings[classes, people].float() / 255


def read_omniglot(data_root: str | None, device: str) -> Drawings:
    """Read both parts, from zips with the published checksums or from folders.

    Args:
        data_root: the folder they are in; None for the value of PLASTICRL_DATA.
        device: where the drawings are kept.

    Raises:
        DataError: a file is missing, damaged or not as published. The message names it.
    """
    paths = OMNIGLOT.find(data_root)
    if all(path.is_dir() for path in paths):
        checked = "folders, which have no published checksum: counted"
        digest = hashlib.sha256()
        for path in paths:
            for name, contents in files_of(path):
                digest.update(f"{name}\0{len(contents)}\0".encode() + contents)
        sha256 = digest.hexdigest()
    else:
        checked, sha256 = "zips with the published md5", sha256_of(paths)
    characters: dict[str, NDArray[np.uint8]] = {}
    for path, n_characters in zip(paths, PARTS.values(), strict=True):
        characters |= read_part(path, n_characters)
    names = sorted(characters)
    split = (
        f"by character, seed {SPLIT_SEED}: {len(names) - N_HELD_OUT:,} to train on, "
        f"{N_HELD_OUT:,} held out"
    )
    drawings = torch.from_numpy(np.stack([characters[name] for name in names]))
    return Drawings(DataRecord(OMNIGLOT.name, checked, sha256, split), names, drawings.to(device))


def read_part(path: Path, n_characters: int) -> dict[str, NDArray[np.uint8]]:
    """Read the drawings (20, 31, 31) of each character from a zip or a folder.

    Raises:
        DataError: it is damaged, or does not have ``n_characters`` with 20 drawings each.
    """
    ink: dict[str, list[NDArray[np.uint8]]] = {}
    for name, contents in files_of(path):
        ink.setdefault(name.rsplit("/", 1)[0], []).append(_ink(path, name, contents))
    for name, drawings in ink.items():
        if len(drawings) != N_DRAWINGS:
            raise DataError(f"{path}: {name} has {len(drawings)} drawings, not {N_DRAWINGS}")
    if len(ink) != n_characters:
        raise DataError(f"{path} has {len(ink):,} characters, not {n_characters:,}")
    return {name: np.stack(drawings) for name, drawings in ink.items()}


def files_of(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the drawings of a part, sorted by name. Other files are ignored.

    Raises:
        DataError: a file cannot be read, or is far too large.
    """
    return _files_of_folder(path) if path.is_dir() else _files_of_zip(path)


def _files_of_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [
                entry for entry in archive.infolist() if DRAWING_NAME.fullmatch(entry.filename)
            ]
            if len(entries) > MAX_FILES:
                raise DataError(f"{path} has {len(entries):,} drawings: more than {MAX_FILES:,}")
            for entry in sorted(entries, key=lambda entry: entry.filename):
                _check_size(path, entry.filename, entry.file_size)
                yield entry.filename, archive.read(entry)
    except DataError:
        raise  # a DataError is a ValueError too, and has a better message
    except ZIP_ERRORS as error:
        raise DataError(f"{path} is a damaged zip: {error}") from error


def _files_of_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    names = {file.relative_to(path.parent).as_posix(): file for file in path.glob("*/*/*.png")}
    for name, file in sorted(names.items()):
        if not DRAWING_NAME.fullmatch(name):
            continue
        try:
            _check_size(path, name, file.stat().st_size)
            yield name, file.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {file}: {error.strerror}") from error


def _check_size(path: Path, name: str, n_bytes: int) -> None:
    if n_bytes > MAX_BYTES:
        raise DataError(f"{path}: {name} has {n_bytes:,} bytes, more than any drawing")


def _ink(path: Path, name: str, contents: bytes) -> NDArray[np.uint8]:
    """A drawing from 0 (paper) to 255 (ink), averaged down to (31, 31)."""
    if not contents.startswith(PNG_HEADER):
        raise DataError(f"{path}: {name} is not a PNG of {SIDE} x {SIDE} pixels")
    try:
        with Image.open(io.BytesIO(contents), formats=["PNG"]) as image:
            gray = image.convert("L").resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX)
    except PNG_ERRORS as error:
        raise DataError(f"{path}: {name} is a damaged PNG: {error}") from error
    return 255 - np.asarray(gray, dtype=np.uint8)


def split_of(names: list[str], n_held_out: int) -> tuple[list[int], list[int]]:
    """Indices of the held-out characters and of the others. The split depends only on the names."""

    def key(position: int) -> str:
        return hashlib.sha256(f"{SPLIT_SEED}/{names[position]}".encode()).hexdigest()

    order = sorted(range(len(names)), key=key)
    return sorted(order[:n_held_out]), sorted(order[n_held_out:])
