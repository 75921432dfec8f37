"""Checkpoints ``step_000000012000.pt``, written atomically and read without running code."""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from plasticrl.runs.errors import RunError
from plasticrl.runs.files import atomic_write

FORMAT_VERSION = 1
_NAME = re.compile(r"step_(\d{12,})\.pt")
_SCALARS = (int, float, str, bool, type(None))


def save_checkpoint(folder: str | Path, step: int, content: dict[str, Any], keep: int = 3) -> Path:
    """Save ``content`` for ``step``, then remove all but the ``keep`` latest checkpoints.

    Args:
        folder: is created if it is missing.
        step: the number of steps so far, for the name of the file.
        content: nested dicts (keys str or int), lists and tuples of tensors, int, float, str,
            bool and None. Tensors are loaded on the CPU, without gradient.
        keep: at least 1; the checkpoint just written is always kept.

    Raises:
        ValueError: ``step`` is negative, or ``keep`` is below 1.
        TypeError: ``content`` has a value of another type; the message has the path of its keys.
        RunError: the folder cannot be written. The older checkpoints are then unchanged.
    """
    if step < 0 or keep < 1:
        raise ValueError(f"step must be >= 0 and keep >= 1, not {step} and {keep}")
    saved = {"format_version": FORMAT_VERSION, "content": _plain(content, "content")}
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    path = Path(folder) / f"step_{step:012d}.pt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot create the folder {folder}: {error.strerror or error}") from error
    atomic_write(path, buffer.getbuffer())
    _remove_old(path, keep)
    return path


def latest_checkpoint(folder: str | Path) -> Path:
    """Return the checkpoint with the highest step.

    Raises:
        RunError: there is no checkpoint.
    """
    checkpoints = _checkpoints(Path(folder))
    if not checkpoints:
        raise RunError(f"there is no checkpoint in {folder}: start a new run in another folder")
    return checkpoints[-1]


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load the content that was passed to ``save_checkpoint``. No code from the file is run.

    Raises:
        RunError: the file is missing, damaged, not a plasticrl checkpoint, or from a newer
            plasticrl.
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(f"checkpoint {path} does not exist")
    try:
        _verify_checksums(path)
        saved = torch.load(path, map_location="cpu", weights_only=True)
        version, content = saved["format_version"], saved["content"]
        if type(version) is not int or type(content) is not dict:
            raise TypeError("its fields have the wrong types")
    # The zip reader and the unpickler can raise any exception for a damaged or foreign file.
    except Exception as error:
        raise RunError(
            f"{path} is corrupt or not a plasticrl checkpoint{_suggestion(path)}"
        ) from error
    if version > FORMAT_VERSION:
        raise RunError(
            f"{path} has format {version}, but this plasticrl reads up to {FORMAT_VERSION}: "
            "upgrade plasticrl"
        )
    return content


def _verify_checksums(path: Path) -> None:
    """Check the zip's checksums, which ``torch.load`` ignores, so that no weight is corrupt."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"wrong checksum in {damaged}")


def _suggestion(path: Path) -> str:
    older = [other for other in _checkpoints(path.parent) if _step(other) < _step(path)]
    return f"; delete it to go on from the previous one, {older[-1].name}" if older else ""


def _step(path: Path) -> int:
    """The step in the name of a checkpoint, or -1 if the name is not that of a checkpoint."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, sorted by step. Incomplete files have other names."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _step(path) >= 0), key=_step)


def _remove_old(written: Path, keep: int) -> None:
    others = [path for path in _checkpoints(written.parent) if path != written]
    leftovers = list(written.parent.glob(".step_*.tmp"))
    for path in others[: max(0, len(others) - (keep - 1))] + leftovers:
        path.unlink(missing_ok=True)


def _plain(value: Any, where: str) -> Any:
    """Copy ``value`` with detached tensors; TypeError for a type that could not be loaded.

    Types are compared exactly, since subclasses such as numpy's float64 are pickled as themselves.
    """
    if isinstance(value, dict):
        for key in value:
            if type(key) not in (str, int):
                raise TypeError(f"{where} has the key {key!r}; keys must be str or int")
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    if type(value) in (list, tuple):
        items = [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if type(value) is list else tuple(items)
    if isinstance(value, torch.Tensor):
        return value.detach()
    if type(value) in _SCALARS:
        return value
    raise TypeError(
        f"{where} is a {type(value).__name__}; a checkpoint holds tensors, int, float, str, bool "
        "and None, in dicts, lists and tuples"
    )
