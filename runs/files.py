"""Atomic writing of files: a file is complete or absent even if the process is killed."""

import glob
import json
import math
import os
import stat
from contextlib import suppress
from pathlib import Path

from plasticrl.runs.errors import RunError, WriteError


def atomic_write(path: Path, content: bytes | memoryview) -> None:
    """Write ``content`` to ``path``, replacing an older file, or leave ``path`` unchanged.

    A reader sees the old file or the new one, never a part of it. This holds after a power failure
    too, since the content is synced before the file is renamed, and the folder afterward.

    Raises:
        WriteError: the folder is missing, not writable, or full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            if not _is_running(leftover.suffixes[-2][1:]):
                leftover.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # it no longer exists if it was renamed
            temporary.unlink()


def make_folder(path: Path) -> None:
    """Make a folder if it is missing. Its parent must exist: a run may have been moved away.

    Raises:
        WriteError: the folder cannot be made.
    """
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise WriteError(f"cannot create the folder {path}: {error.strerror or error}") from error


def _is_running(process_id: str) -> bool:
    """Whether a process may still be writing a file that has its number in the name."""
    try:
        os.kill(int(process_id), 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except OSError:  # it belongs to another user
        return True
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bytes(path: Path, largest: int = 1 << 20) -> bytes:
    """Read a file.

    Args:
        path: the file.
        largest: the size in bytes above which the file is not read.

    Raises:
        RunError: the file is missing, too large, unreadable, or not a regular file (reading a pipe
            might never end).
    """
    try:
        # O_NONBLOCK, because open() would wait for a pipe to which nobody writes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError("it is not a regular file")
            if status.st_size > largest:
                raise OSError(f"it has {status.st_size:,} bytes, and at most {largest:,} are read")
            return file.read(largest)
    except (OSError, ValueError) as error:  # ValueError: the path has a null character
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"cannot read {path}: {reason}") from error


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as indented JSON, atomically.

    Raises:
        RunError: JSON cannot represent ``value``.
        WriteError: the file cannot be written.
    """
    try:
        text = json.dumps(value, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RunError(f"cannot write {path}: {error}") from error
    atomic_write(path, (text + "\n").encode())


def null_non_finite(value: object) -> object:
    """Copy nested dicts, lists and tuples with None for NaN and infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {key: null_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [null_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
