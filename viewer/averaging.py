"""Several runs as one curve: their average on a common grid of steps, and its interval.

    mean:  the average over the runs
    iqm:   the average of the middle half of the runs, with fractional weights at its edges
    interval:  2.5 % and 97.5 % of the average over resampled sets of runs (percentile bootstrap)

The runs are resampled, since they are independent, so the interval is one across seeds. Sources:
Agarwal et al. 2021 (arXiv 2108.13264) for the interquartile mean; Efron & Tibshirani 1993, chapter
13, for the bootstrap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plasticrl.viewer.errors import ViewerError

Floats = NDArray[np.float64]

AVERAGES = ("mean", "iqm")
GRID = 500
"""The most points of a curve, which are more than a plot can show."""
RESAMPLES = 2000
SEED = 0


@dataclass(frozen=True, eq=False)
class Points:
    """One run's curve: increasing steps (M,) and finite values (M,); averaging needs M >= 2."""

    name: str
    steps: NDArray[np.int64]
    values: Floats


@dataclass(frozen=True, eq=False)
class Curve:
    """The average of a group of runs.

    Attributes:
        label: of the group.
        steps: (M,), the common grid.
        runs: (n, M), every run on that grid.
        center: (M,), the average.
        low, high: (M,), the 95 % interval; None for a single run.
    """

    label: str
    steps: Floats
    runs: Floats
    center: Floats
    low: Floats | None
    high: Floats | None


def average_runs(label: str, runs: Sequence[Points], average: str = "mean") -> Curve:
    """Average runs into one curve.

    Args:
        label: of the group.
        runs: at least one; those whose steps differ are interpolated linearly.
        average: one of ``AVERAGES``.

    Raises:
        ValueError: ``average`` is none of them.
        ViewerError: a run has a single value, or the runs have no range of steps in common.
    """
    if average not in AVERAGES:
        raise ValueError(f"average must be one of {', '.join(AVERAGES)}, not {average!r}")
    grid = common_grid(runs)
    values = np.stack([np.interp(grid, run.steps, run.values) for run in runs])
    low, high = (None, None) if len(runs) == 1 else bootstrap(values, average)
    return Curve(label, grid, values, center(values, average), low, high)


def common_grid(runs: Sequence[Points]) -> Floats:
    """Return the steps in the range that all runs share, evenly spaced if there are too many.

    Raises:
        ViewerError: a run has a single value, or the runs have no range of steps in common.
    """
    for run in runs:
        if len(run.steps) < 2:
            raise ViewerError(f"{run.name} has a single value: a curve needs two")
    last_begins = max(runs, key=lambda run: int(run.steps[0]))
    first_ends = min(runs, key=lambda run: int(run.steps[-1]))
    start, end = int(last_begins.steps[0]), int(first_ends.steps[-1])
    if start >= end:
        raise ViewerError(
            f"{last_begins.name} begins at step {start:,}, where {first_ends.name} has ended "
            f"(step {end:,}): they have no range in common"
        )
    steps = np.unique(np.concatenate([run.steps for run in runs]))
    steps = steps[(steps >= start) & (steps <= end)]
    return steps.astype(float) if len(steps) <= GRID else np.linspace(start, end, GRID)


def center(values: Floats, average: str) -> Floats:
    """Average over the next to last axis, that of the runs."""
    ordered = np.sort(values, axis=-2) if average == "iqm" else values
    weights = _middle_half(values.shape[-2]) if average == "iqm" else None
    result: Floats = np.average(ordered, axis=-2, weights=weights)
    return result


def _middle_half(n: int) -> Floats:
    """The weights of n sorted runs in the interquartile mean: how much of the interval from k / n
    to (k + 1) / n, which stands for run k, lies between 1/4 and 3/4."""
    edges = np.clip(np.arange(n + 1) / n, 0.25, 0.75)
    return np.diff(edges)


def bootstrap(values: Floats, average: str) -> tuple[Floats, Floats]:
    """Return the 95 % interval (low, high), each (M,), of the average of ``values`` (n, M)."""
    n = len(values)
    chosen = np.random.default_rng(SEED).integers(0, n, (RESAMPLES, n))
    # Slices of the grid keep the resampled arrays small.
    bounds = [
        np.percentile(center(part[chosen], average), (2.5, 97.5), axis=0)
        for part in np.array_split(values, max(1, values.shape[1] // 50), axis=1)
    ]
    low, high = np.concatenate(bounds, axis=1)
    return low, high
