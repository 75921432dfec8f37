"""Files that are whole or absent, whenever the process dies."""

import json
import math
import os
from contextlib import suppress
from pathlib import Path

from plasticrl.runs.errors import RunError


def atomic_write(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to `path`, replacing what was there, or leave `path` as it was.

    A reader sees the old file or the new one, never a part; after a power cut too, since the
    content is synced before it gets its name, and the folder after.

    Raises:
        RunError: the folder is missing, not writable, or full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # gone, where it has been renamed
            temporary.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bytes(path: Path) -> bytes:
    """The file's bytes; RunError where it is missing or unreadable."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, atomically; RunError where JSON has no word for it."""
    try:
        text = json.dumps(value, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RunError(f"cannot write {path}: {error}") from error
    atomic_write(path, (text + "\n").encode())


def null_non_finite(value: object) -> object:
    """A copy of dicts, lists and tuples in which NaN and infinities, unknown to JSON, are None."""
    if isinstance(value, dict):
        return {key: null_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [null_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
