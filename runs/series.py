"""One metric of a run as arrays, taking nothing on trust."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plasticrl.runs.errors import RunError
from plasticrl.runs.metrics import read_metrics


class Series(NamedTuple):
    """One metric, in the order of its steps."""

    steps: NDArray[np.int64]
    """(M,), rising."""
    values: NDArray[np.float64]
    """(M,), finite."""
    n_left_out: int
    """Values that were not finite, and are not in it."""


def read_series(path: str | Path, metric: str) -> dict[str, Series]:
    """A metric of every net of a run: `""` is the run's own net, a name one of its controls.

    The controls of a supervised run write the same metrics as `name/metric`.

    Args:
        path: of a metrics file.
        metric: as `rollout/ep_rew_mean`.

    Raises:
        RunError: the file is missing, damaged or empty, or has no finite value of the metric.
    """
    rows = read_metrics(path)
    if not rows:
        raise RunError(f"{path} is empty: its training has written nothing yet")
    names = list(dict.fromkeys(name for row in rows for name in row if name != "step"))
    mine = [name for name in names if name == metric]
    if "/" in metric:
        mine += [name for name in names if name.endswith(f"/{metric}")]
    if not mine:
        raise RunError(f"{path} has no metric {metric!r}; it has {', '.join(names) or 'none'}")
    return {
        name.removesuffix(metric).rstrip("/"): _series(rows, name, f"{path}, metric {name}")
        for name in mine
    }


def _series(rows: list[dict[str, Any]], name: str, where: str) -> Series:
    pairs = [(row["step"], _number(row[name], where)) for row in rows if name in row]
    finite = [(step, value) for step, value in pairs if math.isfinite(value)]
    if not finite:
        raise RunError(f"{where} has no finite value")
    if not all(0 <= step < 2**62 for step, _ in finite):
        raise RunError(f"{where}: a step is below 0 or beyond 64 bits")
    steps = np.array([step for step, _ in finite], dtype=np.int64)
    back = np.flatnonzero(np.diff(steps) <= 0)
    if len(back):
        raise RunError(f"{where}: step {steps[back[0] + 1]} comes after step {steps[back[0]]}")
    values = np.array([value for _, value in finite])
    return Series(steps, values, len(pairs) - len(finite))


def _number(value: object, where: str) -> float:
    """The value; NaN for null, which stands for what was not finite."""
    if value is None:
        return math.nan
    if type(value) not in (int, float):
        raise RunError(f"{where} has the value {value!r}, which is no number")
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:  # an integer beyond the floats
        return math.inf
