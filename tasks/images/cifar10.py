"""CIFAR-10 in its Python format: six pickled batches, in a folder or in the published tar.gz.

A batch is a dictionary of byte strings; ``data`` is an array of unsigned bytes (n, 3072): a
picture's 1,024 reds, greens, then blues, row by row. Files are compared with their md5 first, and
what is unpickled then can make nothing but numbers, strings, lists, dictionaries and such arrays.
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
"""Bytes; a published one has 31 million."""

Grey = npt.NDArray[np.float32]


def read(cifar: ExternalDataSet, paths: list[Path]) -> tuple[Grey, Grey]:
    """Pictures to train on, and those of the test batch, each (n, 32, 32), channels summed.

    Args:
        cifar: the data set, whose ``alternative_files`` names the batches, the test batch last.
        paths: what its ``find`` found: the archive, or the batches.

    Raises:
        DataError: for a file that is damaged, or that asks for more than arrays.
    """
    if len(paths) == 1:
        batches = _from_archive(paths[0], [file.name for file in cifar.alternative_files])
    else:
        batches = [_pictures(path.read_bytes(), str(path)) for path in paths]
    return np.concatenate(batches[:-1]), batches[-1]


def _from_archive(path: Path, names: list[str]) -> list[Grey]:
    """The batches of a tar.gz, read where they are: nothing is unpacked onto the disk."""
    found: dict[str, Grey] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                where = f"{member.name} in {path}"
                if member.name not in names or not member.isfile():
                    continue
                if member.size > LARGEST_BATCH:
                    raise DataError(f"{where} is too large: {member.size} bytes")
                contents = archive.extractfile(member)
                assert contents is not None  # as it is a file
                found[member.name] = _pictures(contents.read(), where)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{path} is damaged: {error}; get it again") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{path} has no file {missing[0]}")
    return [found[name] for name in names]


def _pictures(contents: bytes, where: str) -> Grey:
    """Sums of the channels (n, 32, 32) of a pickled batch."""
    try:
        batch = _BatchUnpickler(io.BytesIO(contents), encoding="bytes").load()
        data = batch[b"data"].array()
    except DataError as error:
        raise DataError(f"{where} {error}") from error
    except Exception as error:  # damaged, a pickle can raise anything
        raise DataError(f"{where} is damaged: {error!r}; get it again") from error
    if data.ndim != 2 or data.shape[1] != CHANNELS * STORED**2:
        raise DataError(f"{where} has an array {data.shape}, not (n, {CHANNELS * STORED**2})")
    channels = data.reshape(-1, CHANNELS, STORED, STORED)
    summed: Grey = channels.sum(axis=1, dtype=np.float32)
    return summed


class _Dtype:
    """Stands for ``numpy.dtype`` while a batch is read."""

    def __init__(self, code: bytes, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Byte order and the like, of which single bytes have none."""


class _Array:
    """Stands for ``numpy.ndarray`` while a batch is read: keeps what it is told."""

    def __init__(self, *_: object) -> None:
        self.shape: tuple[int, ...] = ()
        self.code, self.contents, self.by_columns = b"", b"", False

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, dtype, self.by_columns, self.contents = state
        self.code = dtype.code

    def array(self) -> npt.NDArray[np.uint8]:
        """The array.

        Raises:
            DataError: it is not one of unsigned bytes, or not whole.
        """
        if self.code != b"u1" or math.prod(self.shape) != len(self.contents):
            raise DataError(f"is damaged: {self.shape} of {self.code!r} in {len(self.contents)} B")
        values = np.frombuffer(self.contents, np.uint8)
        return values.reshape(self.shape, order="F" if self.by_columns else "C")


class _BatchUnpickler(pickle.Unpickler):
    """Knows the three names that a batch needs, and what they stand for here; runs nothing else."""

    known: ClassVar[dict[tuple[str, str], Callable[..., object]]] = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
    }

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        try:
            return self.known[module, name]
        except KeyError:
            raise DataError(f"asks for {module}.{name}, which no batch needs: not run") from None
