"""Reads one metric of a run as validated arrays."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plasticrl.runs.errors import RunError
from plasticrl.runs.metrics import read_metrics


class Series(NamedTuple):
    """The values of one metric, in the order of their steps."""

    steps: NDArray[np.int64]
    """(M,), strictly increasing."""
    values: NDArray[np.float64]
    """(M,), finite."""
    n_left_out: int
    """Number of values that are left out because they are not finite."""


def read_series(path: str | Path, metric: str) -> dict[str, Series]:
    """Read a metric of every net of a run.

    A supervised run may also train other nets, called controls, for comparison; their metrics are
    named ``net/metric``.

    Args:
        path: the path of a metrics file.
        metric: the name of a metric, for example ``rollout/ep_rew_mean``.

    Returns:
        The series by the name of the net; the name of the run's own net is ``""``.

    Raises:
        RunError: the file is missing, damaged or empty, or has no finite value of the metric.
    """
    rows = read_metrics(path)
    if not rows:
        raise RunError(f"{path} is empty: its training has written nothing yet")
    names = list(dict.fromkeys(name for row in rows for name in row if name != "step"))
    matching = [name for name in names if name == metric]
    if "/" in metric:
        matching += [name for name in names if name.endswith(f"/{metric}")]
    if not matching:
        raise RunError(f"{path} has no metric {metric!r}; it has {', '.join(names) or 'none'}")
    return {
        name.removesuffix(metric).rstrip("/"): _series(rows, name, f"{path}, metric {name}")
        for name in matching
    }


def _series(rows: list[dict[str, Any]], name: str, where: str) -> Series:
    pairs = [(row["step"], _number(row[name], where)) for row in rows if name in row]
    finite = [(step, value) for step, value in pairs if math.isfinite(value)]
    if not finite:
        raise RunError(f"{where} has no finite value")
    if not all(0 <= step < 2**62 for step, _ in finite):
        raise RunError(f"{where}: a step is negative or too large for 64 bits")
    steps = np.array([step for step, _ in finite], dtype=np.int64)
    decreasing = np.flatnonzero(np.diff(steps) <= 0)
    if len(decreasing):
        raise RunError(
            f"{where}: step {steps[decreasing[0] + 1]} comes after step {steps[decreasing[0]]}"
        )
    values = np.array([value for _, value in finite])
    return Series(steps, values, len(pairs) - len(finite))


def _number(value: object, where: str) -> float:
    """Convert a value to a float. A non-finite value was written as null and becomes NaN."""
    if value is None:
        return math.nan
    if type(value) not in (int, float):
        raise RunError(f"{where} has the value {value!r}, which is not a number")
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:  # the integer is too large for a float
        return math.inf
