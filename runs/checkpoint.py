"""Checkpoints ``step_000000012000.pt``, written atomically and read without running code.

``torch.save`` writes a checkpoint as a zip file. The SHA-256 checksum of the file is then appended
as the zip file's comment, so that damage is detected.
"""

import hashlib
import io
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch

from plasticrl.runs.errors import RunError, WriteError
from plasticrl.runs.files import atomic_write, make_folder, read_bytes

FORMAT_VERSION = 2
LARGEST = 1 << 32
"""The size in bytes above which a file is not read as a checkpoint."""
KEPT = 3
"""Number of checkpoints that are kept."""
_END = 22
"""The length of a zip file's last record, without a comment."""
_DIGITS = 64
"""The length of a SHA-256 checksum in hexadecimal digits."""
_NO_COMMENT, _CHECKSUM_COMMENT = (0).to_bytes(2, "little"), _DIGITS.to_bytes(2, "little")
"""The last two bytes of a zip file without a comment, and the two bytes before a checksum as the
comment: the length of the comment."""
_NAME = re.compile(r"step_(\d{12,})\.pt")
_SCALARS = (int, float, str, bool, type(None))


def save_checkpoint(
    folder: str | Path, step: int, content: dict[str, Any], keep: int = KEPT
) -> Path:
    """Save ``content`` for ``step``, then remove all but the ``keep`` latest checkpoints.

    Args:
        folder: is created if it is missing; its parent must exist.
        step: the number of steps so far, for the name of the file.
        content: nested dicts (keys str or int), lists and tuples of tensors, int, float, str,
            bool and None. Tensors will be loaded on the CPU, without gradient.
        keep: at least 1; the checkpoint just written is always kept.

    Raises:
        ValueError: ``step`` is negative, or ``keep`` is below 1.
        TypeError: ``content`` has a value of another type; the message says where.
        RunError: the checkpoint would be larger than ``LARGEST``.
        WriteError: the folder cannot be written. The older checkpoints are then unchanged.
    """
    if step < 0 or keep < 1:
        raise ValueError(f"step must be >= 0 and keep >= 1, not {step} and {keep}")
    saved = {"format_version": FORMAT_VERSION, "content": _loadable(content, "content")}
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    add_checksum(buffer)
    if buffer.tell() > LARGEST:
        raise RunError(
            f"the checkpoint of step {step} has {buffer.tell():,} bytes, but at most {LARGEST:,} "
            "can be read again: use fewer environments or a smaller core"
        )
    path = Path(folder) / f"step_{step:012d}.pt"
    make_folder(path.parent)
    atomic_write(path, buffer.getbuffer())
    remove_old_checkpoints(path, keep)
    return path


def has_checkpoint(folder: str | Path) -> bool:
    """Whether a folder exists and has a checkpoint, which may be damaged."""
    return bool(_checkpoints(Path(folder)))


def latest_checkpoint(folder: str | Path) -> Path:
    """Return the path of the checkpoint with the highest step, without reading the file.

    Raises:
        RunError: there is no checkpoint.
    """
    return _existing(folder)[-1]


def latest_step(folder: str | Path) -> int:
    """Return the step of the latest checkpoint, without reading the file; -1 if there is none."""
    return max(map(_step, _checkpoints(Path(folder))), default=-1)


class DamagedError(RunError):
    """A checkpoint is damaged, or is not one."""


class Checkpoint(NamedTuple):
    """A loaded checkpoint."""

    path: Path
    content: dict[str, Any]
    """What was passed to ``save_checkpoint``."""
    damaged: tuple[str, ...] = ()
    """For each checkpoint with a higher step, a sentence that says why it could not be read."""

    @property
    def step(self) -> int:
        """The step in the file's name."""
        return _step(self.path)


def load_latest(folder: str | Path) -> Checkpoint:
    """Load the checkpoint with the highest step, skipping those that are damaged.

    Raises:
        RunError: there is no checkpoint, all are damaged, or the latest one that is not damaged
            cannot be read, or has another format.
    """
    damaged: list[str] = []
    for path in reversed(_existing(folder)):
        try:
            return Checkpoint(path, load_checkpoint(path), tuple(damaged))
        except DamagedError as error:
            damaged.append(str(error))
    raise RunError(damaged[0])


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load the content that was passed to ``save_checkpoint``. No code from the file is run.

    Raises:
        RunError: the file is missing, damaged, not a plasticrl checkpoint, or from another version
            of the format.
    """
    path = Path(path)
    contents = read_bytes(path, LARGEST)
    if contents.endswith(_NO_COMMENT) and contents[-_END:].startswith(b"PK\5\6"):
        raise RunError(
            f"{path} has no checksum: it is not a plasticrl checkpoint, or it was written by an "
            "older version of plasticrl, which can still read it"
        )
    if not _has_its_checksum(contents):
        raise DamagedError(
            f"{path} is damaged, or not a plasticrl checkpoint: it does not end with the checksum "
            "of its contents"
        )
    try:
        saved = torch.load(io.BytesIO(contents), map_location="cpu", weights_only=True)
        version, content = saved["format_version"], saved["content"]
        if type(version) is not int or type(content) is not dict:
            raise TypeError("its fields have the wrong types")
    # The zip reader and the unpickler can raise any exception for a foreign file.
    except Exception as error:
        raise DamagedError(f"{path} is not a plasticrl checkpoint") from error
    if version != FORMAT_VERSION:
        raise RunError(
            f"{path} has format {version}, but this plasticrl reads format {FORMAT_VERSION}: use "
            "the version of plasticrl that wrote it"
        )
    return content


def add_checksum(buffer: io.BytesIO) -> None:
    """Add to a zip file in memory the comment that holds its checksum."""
    with buffer.getbuffer() as contents:
        contents[-len(_NO_COMMENT) :] = _CHECKSUM_COMMENT
        checksum = hashlib.sha256(contents).hexdigest()
    buffer.seek(0, io.SEEK_END)
    buffer.write(checksum.encode())


def _has_its_checksum(contents: bytes) -> bool:
    body, checksum = memoryview(contents)[:-_DIGITS], contents[-_DIGITS:]
    return hashlib.sha256(body).hexdigest().encode() == checksum


def _existing(folder: str | Path) -> list[Path]:
    checkpoints = _checkpoints(Path(folder))
    if not checkpoints:
        raise RunError(f"there is no checkpoint in {folder}: start a new run in another folder")
    return checkpoints


def _step(path: Path) -> int:
    """The step in the name of a checkpoint, or -1 if the name is not that of a checkpoint."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, sorted by step. Incomplete files have other names."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if _step(p) >= 0 and not p.is_dir()), key=_step)


def remove_old_checkpoints(latest: Path, keep: int = KEPT) -> None:
    """Remove all but the ``keep`` latest checkpoints up to ``latest``, and partial files.

    Checkpoints after ``latest`` are damaged ones that a resumption has skipped. They are kept.

    Raises:
        WriteError: a file cannot be removed.
    """
    checkpoints = _checkpoints(latest.parent)
    older = checkpoints[: checkpoints.index(latest)] if latest in checkpoints else []
    partial = [path for path in latest.parent.glob(".step_*.tmp") if path.is_file()]
    try:
        for path in older[: max(0, len(older) - (keep - 1))] + partial:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(f"cannot remove {path}: {error.strerror or error}") from error


def _loadable(value: Any, where: str) -> Any:
    """Copy ``value`` with detached tensors. Raise ``TypeError`` if it could not be loaded again.

    A subclass of an allowed type, such as ``numpy.float64``, is not allowed: it is pickled under
    its own name, and ``torch.load(weights_only=True)`` refuses it.
    """
    if isinstance(value, dict):
        for key in value:
            if type(key) not in (str, int):
                raise TypeError(f"{where} has the key {key!r}; keys must be str or int")
        return {key: _loadable(item, f"{where}.{key}") for key, item in value.items()}
    if type(value) in (list, tuple):
        items = [_loadable(item, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if type(value) is list else tuple(items)
    if isinstance(value, torch.Tensor):
        return value.detach()
    if type(value) in _SCALARS:
        return value
    raise TypeError(
        f"{where} is a {type(value).__name__}; a checkpoint holds tensors, int, float, str, bool "
        "and None, in dicts, lists and tuples"
    )
