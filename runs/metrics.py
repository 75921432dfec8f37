"""Metrics: one JSON object a line, `{"step": 12000, "rollout/ep_rew_mean": 48.1}`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plasticrl.runs.errors import RunError
from plasticrl.runs.files import atomic_write, null_non_finite, read_bytes


class MetricsLog:
    """Appends to a metrics file; a line that was given to it survives the process."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Add one line. Non-finite values become null, JSON having no word for them.

        Raises:
            ValueError: one of `values` is called "step".
            RunError: the file cannot be written.
        """
        if "step" in values:
            raise ValueError("a metric cannot be called 'step': that is the line's own key")
        row = {"step": step, **{name: float(value) for name, value in values.items()}}
        try:
            with self.path.open("ab") as file:
                file.write(_line(null_non_finite(row)))
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror or error}") from error

    def rewind(self, step: int, prefix: str = "") -> None:
        """Forget what came after `step`, and a half-written last line: the start of a resume.

        Args:
            prefix: forget only lines that have a metric whose name begins so.

        Raises:
            RunError: the file is damaged elsewhere, or cannot be written.
        """
        if self.path.exists():
            kept = [
                row
                for row in read_metrics(self.path)
                if row["step"] <= step or not any(name.startswith(prefix) for name in row)
            ]
            atomic_write(self.path, b"".join(_line(row) for row in kept))


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """All rows of a metrics file; values are floats, or None where they were not finite.

    A last line without its line end was cut off by a crash, and is left out.

    Raises:
        RunError: the file is missing, or any other line is not an object with an integer step.
    """
    *lines, _unfinished = read_bytes(Path(path)).split(b"\n")
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
