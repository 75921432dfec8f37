"""Checkpoints: `step_000000012000.pt`, written atomically, read without running any code."""

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
    """Save `content` for `step`, then remove all but the `keep` latest checkpoints.

    Args:
        folder: made where missing.
        content: nested dicts (keys str or int), lists and tuples of tensors, int, float, str,
            bool and None. Tensors come back on the CPU, without gradient.
        keep: at least 1; the checkpoint just written is always kept.

    Raises:
        TypeError: `content` holds anything else; the message has its key path.
        RunError: the folder cannot be written. The older checkpoints are untouched then.
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
        raise RunError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    atomic_write(path, buffer.getbuffer())
    _remove_others(path, keep)
    return path


def latest_checkpoint(folder: str | Path) -> Path:
    """The checkpoint with the highest step; RunError where there is none."""
    checkpoints = _checkpoints(Path(folder))
    if not checkpoints:
        raise RunError(f"there is no checkpoint in {folder}: start the run again, elsewhere")
    return checkpoints[-1]


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content that `save_checkpoint` was given. No code from the file is run.

    Raises:
        RunError: the file is missing, damaged in any byte that matters, not a checkpoint of ours,
            or of a newer plasticrl.
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
    # A damaged or foreign file can fail anywhere in the zip reader and the unpickler, and in any
    # way; whatever it was, this file is of no use.
    except Exception as error:
        raise RunError(
            f"{path} is corrupt or not a plasticrl checkpoint{_way_out(path)}"
        ) from error
    if version > FORMAT_VERSION:
        raise RunError(
            f"{path} has format {version}, but this plasticrl reads up to {FORMAT_VERSION}: "
            "upgrade plasticrl"
        )
    return content


def _verify_checksums(path: Path) -> None:
    """torch.load does not look at the zip's checksums: a flipped bit would be a wrong weight."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"wrong checksum in {damaged}")


def _way_out(path: Path) -> str:
    older = [other for other in _checkpoints(path.parent) if _step(other) < _step(path)]
    return f"; delete it to go on from the previous one, {older[-1].name}" if older else ""


def _step(path: Path) -> int:
    """The step in a checkpoint's name; -1 where the name is not one of ours."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def _checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, by step: what a killed save leaves behind has another name."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _step(path) >= 0), key=_step)


def _remove_others(written: Path, keep: int) -> None:
    others = [path for path in _checkpoints(written.parent) if path != written]
    leftovers = list(written.parent.glob(".step_*.tmp"))
    for path in others[: max(0, len(others) - (keep - 1))] + leftovers:
        path.unlink(missing_ok=True)


def _plain(value: Any, where: str) -> Any:
    """A copy in plain containers, with detached tensors; TypeError for what would not load.

    Types are compared exactly, since subclasses (numpy's float64 is a float) pickle as themselves.
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
