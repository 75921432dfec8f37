"""Data sets of the package and of the user. This module does not import torch."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from plasticrl.runs import UsageError

DATA_ROOT_VARIABLE = "PLASTICRL_DATA"
"""The environment variable that is used if ``data_root`` is not given."""

READ_SIZE = 1 << 20
"""Bytes read at a time when a checksum is computed."""


class DataError(UsageError):
    """A data set is missing, altered or damaged. The message names the file and a solution."""


class DataRecord(NamedTuple):
    """The origin of a run's episodes, as it is written to ``evaluation.json``."""

    name: str
    version: str
    sha256: str | None
    """Checksum of the data; None where the program generates the episodes."""
    split: str
    """How the held-out episodes differ from the training episodes."""


PROCEDURAL = DataRecord("procedural", "1", None, "other seeds")


class EmbeddedDataSet(NamedTuple):
    """A data set that comes with the package."""

    name: str
    task: str
    path: Path
    sha256: str
    description: str
    """One line on its contents and its license."""

    def read(self) -> bytes:
        """Read the file.

        Raises:
            DataError: the file is missing or has been altered.
        """
        try:
            contents = self.path.read_bytes()
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror}; install plasticrl again") from error
        actual = hashlib.sha256(contents).hexdigest()
        if actual != self.sha256:
            raise DataError(
                f"{self.path} has been altered: its sha256 is {actual}, not {self.sha256}; "
                "install plasticrl again"
            )
        return contents


class File(NamedTuple):
    """A file of a data set that the user supplies."""

    name: str
    """Path relative to the data root."""
    md5: str


class ExternalDataSet(NamedTuple):
    """A data set that the user supplies, since it cannot or may not be distributed here."""

    name: str
    task: str
    files: tuple[File, ...]
    substitute: str
    """The value of ``data`` that selects an embedded data set in its place."""
    alternative_files: tuple[File, ...] = ()
    """The same data as other files. They are used if one of them exists."""
    unpacked_folders: tuple[str, ...] = ()
    """The same data as folders, without checksums. They are used if no file exists."""

    def find(self, data_root: str | None) -> list[Path]:
        """Return the paths of the files, in order and with verified checksums, or of the folders.

        Args:
            data_root: the folder that holds them; None for the value of PLASTICRL_DATA.

        Raises:
            DataError: no folder is given, it does not exist, or a file is missing or has the
                wrong checksum.
        """
        root = resolve_data_root(data_root)
        if root is None:
            raise DataError(
                f"{self.name} is not embedded: name the folder that holds {self._expected()} with "
                f"data_root=FOLDER or the variable {DATA_ROOT_VARIABLE}, or use an embedded data "
                f"set in its place with data={self.substitute}"
            )
        folders = [root / name for name in self.unpacked_folders]
        has_files = any(path_exists(root / file.name) for file in self.files)
        if folders and all(map(path_exists, folders)) and not has_files:
            return folders
        use_alternative = any(path_exists(root / file.name) for file in self.alternative_files)
        files = self.alternative_files if use_alternative else self.files
        return [self._verified(root, file) for file in files]

    def _verified(self, root: Path, file: File) -> Path:
        path = root / file.name
        if not path_exists(path):
            raise DataError(
                f"{self.name} is missing: there is no file {path} (md5 {file.md5}); put it there, "
                f"or use an embedded data set in its place with data={self.substitute}"
            )
        actual = md5(path)
        if actual != file.md5:
            raise DataError(
                f"{path} is not the {self.name} file: its md5 is {actual}, not {file.md5}; "
                "download it again, or use an embedded data set in its place with "
                f"data={self.substitute}"
            )
        return path

    def _expected(self) -> str:
        files = ", ".join(f"{file.name} (md5 {file.md5})" for file in self.files)
        others = (*(file.name for file in self.alternative_files), *self.unpacked_folders)
        return f"{files} or {', '.join(others)}" if others else files


def resolve_data_root(data_root: str | None) -> Path | None:
    """Return the folder of the user's data sets, or None if neither flag nor variable names one.

    Raises:
        DataError: the folder does not exist.
    """
    name = data_root or os.environ.get(DATA_ROOT_VARIABLE)
    if not name:
        return None
    if not (path_exists(Path(name)) and Path(name).is_dir()):
        source = "data_root" if data_root else DATA_ROOT_VARIABLE
        raise DataError(f"{source}: there is no folder {name}")
    return Path(name)


def path_exists(path: Path) -> bool:
    """Whether a file or folder exists.

    Raises:
        DataError: the system refuses to say, for example for lack of permission.
    """
    try:
        return path.exists()
    except OSError as error:
        raise DataError(f"cannot access {path}: {error.strerror}") from error


def md5(path: Path) -> str:
    """The md5 checksum of a file, which is what the data sets' authors publish.

    Raises:
        DataError: the file cannot be read.
    """
    return _digest(path, "md5")


def sha256_of(paths: Sequence[Path]) -> str:
    """One checksum of several files in this order; for a single file, the file's own sha256.

    Raises:
        DataError: a file cannot be read.
    """
    digests = [_digest(path, "sha256") for path in paths]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def _digest(path: Path, algorithm: Literal["md5", "sha256"]) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while chunk := file.read(READ_SIZE):
                digest.update(chunk)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()
