"""The metrics file: one JSON object per line, ``{"step": 12000, "rollout/ep_rew_mean": 48.1}``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plasticrl.runs.errors import RunError, WriteError
from plasticrl.runs.files import atomic_write, null_non_finite, read_bytes

LARGEST = 1 << 30
"""The size in bytes above which a metrics file is not read."""


class MetricsLog:
    """Appends lines to a metrics file, and closes it after each, so that a crash loses none."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Add one line. Non-finite values become null, since JSON cannot represent them.

        Raises:
            ValueError: one of ``values`` is named "step".
            WriteError: the file cannot be written.
        """
        if "step" in values:
            raise ValueError("a metric cannot be named 'step', which is the key of the step itself")
        row = {"step": step, **{name: float(value) for name, value in values.items()}}
        try:
            with self.path.open("ab") as file:
                file.write(_line(null_non_finite(row)))
        except OSError as error:
            raise WriteError(f"cannot write {self.path}: {error.strerror or error}") from error

    def rewind(self, step: int, prefix: str = "") -> None:
        """Remove lines of later steps than ``step``, and an incomplete last line.

        Call it before a run is resumed at ``step``.

        Args:
            prefix: remove only lines that have a metric whose name starts with this prefix.

        Raises:
            RunError: another line is damaged.
            WriteError: the file cannot be written.
        """
        if self.path.exists():
            kept = [
                row
                for row in read_metrics(self.path)
                if row["step"] <= step or not any(name.startswith(prefix) for name in row)
            ]
            atomic_write(self.path, b"".join(_line(row) for row in kept))


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Read all lines of a metrics file. Values are floats, or None if they were not finite.

    A last line without a line end was cut off by a crash and is ignored.

    Raises:
        RunError: the file is missing, or another line is not an object with an integer step.
    """
    *lines, _unfinished = read_bytes(Path(path), LARGEST).split(b"\n")
    return [_row(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        raise RunError(f'{where} must be an object with an integer "step"')
    return row


def _line(row: object) -> bytes:
    return (json.dumps(row, allow_nan=False) + "\n").encode()
