"""CIFAR-10 in its Python format: six pickled batches, in a folder or in the published tar.gz.

A batch is a dictionary with byte strings as keys. Its ``data`` is an array of unsigned bytes (n,
3072): for each picture, 1,024 red values, then green, then blue, row by row. The md5 of a file is
checked before it is opened, and unpickling can create nothing but numbers, strings, lists,
dictionaries and such arrays.
Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images", and its web page.
"""

import io
import math
import pickle
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from plasticrl.tasks.data import DataError, ExternalDataSet
from plasticrl.tasks.images.config import STORED

CHANNELS = 3
LARGEST_BATCH = 1 << 26
"""Largest accepted batch in bytes; a published one has 31 million."""

GrayPictures = npt.NDArray[np.float32]


def read(cifar: ExternalDataSet, paths: list[Path]) -> tuple[GrayPictures, GrayPictures]:
    """The training pictures and the test pictures, each (n, 32, 32), with summed channels.

    Args:
        cifar: the data set; its ``alternative_files`` are the batches, the test batch last.
        paths: what ``cifar.find`` returned: the archive, or the batches.

    Raises:
        DataError: a file is damaged, or its pickle needs more than arrays.
    """
    if len(paths) == 1:
        batches = _from_archive(paths[0], [file.name for file in cifar.alternative_files])
    else:
        batches = [_pictures(path.read_bytes(), str(path)) for path in paths]
    return np.concatenate(batches[:-1]), batches[-1]


def _from_archive(path: Path, names: list[str]) -> list[GrayPictures]:
    """Read the batches from a tar.gz without unpacking it to disk."""
    batches: dict[str, GrayPictures] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                where = f"{member.name} in {path}"
                if member.name not in names or not member.isfile():
                    continue
                if member.size > LARGEST_BATCH:
                    raise DataError(f"{where} is too large: {member.size} bytes")
                contents = archive.extractfile(member)
                assert contents is not None  # since isfile() is true
                batches[member.name] = _pictures(contents.read(), where)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{path} is damaged: {error}; download it again") from error
    missing = [name for name in names if name not in batches]
    if missing:
        raise DataError(f"{path} has no file {missing[0]}")
    return [batches[name] for name in names]


def _pictures(contents: bytes, where: str) -> GrayPictures:
    """The pictures of a pickled batch with summed channels, (n, 32, 32)."""
    try:
        batch = _BatchUnpickler(io.BytesIO(contents), encoding="bytes").load()
        data = batch[b"data"].array()
    except DataError as error:
        raise DataError(f"{where} {error}") from error
    except Exception as error:  # a damaged pickle can raise any exception
        raise DataError(f"{where} is damaged: {error!r}; download it again") from error
    if data.ndim != 2 or data.shape[1] != CHANNELS * STORED**2:
        raise DataError(f"{where} has an array {data.shape}, not (n, {CHANNELS * STORED**2})")
    channels = data.reshape(-1, CHANNELS, STORED, STORED)
    summed: GrayPictures = channels.sum(axis=1, dtype=np.float32)
    return summed


class _Dtype:
    """The replacement of ``numpy.dtype`` while a batch is unpickled."""

    def __init__(self, code: bytes, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Ignore the byte order and alignment, which have no effect for single bytes."""


class _Array:
    """The replacement of ``numpy.ndarray`` while a batch is unpickled; it stores the state."""

    def __init__(self, *_: object) -> None:
        self.shape: tuple[int, ...] = ()
        self.code, self.contents, self.column_major = b"", b"", False

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, dtype, self.column_major, self.contents = state
        self.code = dtype.code

    def array(self) -> npt.NDArray[np.uint8]:
        """Convert it to a numpy array.

        Raises:
            DataError: its type is not unsigned bytes, or it is incomplete.
        """
        if self.code != b"u1" or math.prod(self.shape) != len(self.contents):
            raise DataError(f"is damaged: {self.shape} of {self.code!r} in {len(self.contents)} B")
        values = np.frombuffer(self.contents, np.uint8)
        return values.reshape(self.shape, order="F" if self.column_major else "C")


class _BatchUnpickler(pickle.Unpickler):
    """Replaces the three names that a batch needs, and refuses every other one."""

    replacements: ClassVar[dict[tuple[str, str], Callable[..., object]]] = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
    }

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        try:
            return self.replacements[module, name]
        except KeyError:
            raise DataError(f"asks for {module}.{name}, which no batch needs") from None
