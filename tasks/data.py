"""Data sets: those that come with the package, and those that the user brings. Knows no torch."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from plasticrl.runs import UsageError

ENVIRONMENT = "PLASTICRL_DATA"
"""The environment variable that stands for ``--data-root``."""

CHUNK = 1 << 20


class DataError(UsageError):
    """A data set that is missing, altered or damaged: says which file, and what would do."""


class Data(NamedTuple):
    """Where a run's episodes came from, as ``evaluation.json`` says it."""

    name: str
    version: str
    sha256: str | None
    """Of the file; None where the episodes are made by the program itself."""
    split: str
    """How held-out episodes differ from those of the training."""


PROCEDURAL = Data("procedural", "1", None, "other seeds")


class Embedded(NamedTuple):
    """A data set that comes with the package."""

    name: str
    task: str
    path: Path
    sha256: str
    about: str
    """What it is, and whose, in a line."""

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            DataError: it is missing or has been altered.
        """
        try:
            contents = self.path.read_bytes()
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror}; install plasticrl again") from error
        found = hashlib.sha256(contents).hexdigest()
        if found != self.sha256:
            raise DataError(
                f"{self.path} has been altered: its sha256 is {found}, not {self.sha256}; "
                "install plasticrl again"
            )
        return contents


class File(NamedTuple):
    """A file of a real data set."""

    name: str
    """Path below the data root."""
    md5: str


class Real(NamedTuple):
    """A data set that the user brings, since it may not or cannot be shipped."""

    name: str
    task: str
    files: tuple[File, ...]
    stand_in: str
    """The flag that chooses what is embedded instead."""
    instead: tuple[File, ...] = ()
    """The same data as other files, which will do where one of them is there."""
    unpacked: tuple[str, ...] = ()
    """The same data as folders, which have no checksum and will do where no file is there."""

    def find(self, data_root: str | None) -> list[Path]:
        """The files, in order, each of the right content; or the unpacked folders.

        Args:
            data_root: the folder they are in; None: the one that PLASTICRL_DATA names.

        Raises:
            DataError: no folder is named, it is not there, or a file is missing or another one.
        """
        folder = root(data_root)
        if folder is None:
            raise DataError(
                f"{self.name} is not here: name the folder that holds {self._expected()} with "
                f"--data-root or {ENVIRONMENT}, or use the embedded stand-in with {self.stand_in}"
            )
        folders = [folder / name for name in self.unpacked]
        packed = any(is_there(folder / file.name) for file in self.files)
        if folders and all(map(is_there, folders)) and not packed:
            return folders
        otherwise = any(is_there(folder / file.name) for file in self.instead)
        files = self.instead if otherwise else self.files
        for file in files:
            path = folder / file.name
            if not is_there(path):
                raise DataError(
                    f"{self.name} is not here: looked for {path} (md5 {file.md5}); "
                    f"put it there, or use the embedded stand-in with {self.stand_in}"
                )
            found = md5(path)
            if found != file.md5:
                raise DataError(
                    f"{path} is not the {self.name} file: its md5 is {found}, not {file.md5}; "
                    f"get it again, or use the embedded stand-in with {self.stand_in}"
                )
        return [folder / file.name for file in files]

    def _expected(self) -> str:
        expected = ", ".join(f"{file.name} (md5 {file.md5})" for file in self.files)
        instead = ", ".join((*(file.name for file in self.instead), *self.unpacked))
        return f"{expected} or {instead}" if instead else expected


def root(data_root: str | None) -> Path | None:
    """The folder of the user's data sets, if one is named.

    Raises:
        DataError: it is not there.
    """
    named = data_root or os.environ.get(ENVIRONMENT)
    if not named:
        return None
    if not (is_there(Path(named)) and Path(named).is_dir()):
        by = "--data-root" if data_root else ENVIRONMENT
        raise DataError(f"{by}: there is no folder {named}")
    return Path(named)


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder.

    Raises:
        DataError: that cannot be known.
    """
    try:
        return path.exists()
    except OSError as error:
        raise DataError(f"cannot look for {path}: {error.strerror}") from error


def md5(path: Path) -> str:
    """A file's checksum, as published with the data sets.

    Raises:
        DataError: for a file that cannot be read.
    """
    return _digest(path, "md5")


def sha256_of(paths: Sequence[Path]) -> str:
    """One checksum for the files in this order: of a single file, the file's own.

    Raises:
        DataError: for a file that cannot be read.
    """
    sums = [_digest(path, "sha256") for path in paths]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def _digest(path: Path, algorithm: Literal["md5", "sha256"]) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()
