"""Timing: actions alternate in one process, and medians of several runs are reported."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple, TypeVar

import numpy as np

MILLI = 1e-3
Action = Callable[[], object]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Settings:
    """The settings of every benchmark."""

    quick: bool
    """Use small sizes, to try the benchmark rather than to measure the machine."""
    repeat: int
    """Number of timed runs of each action, after one run that is not timed."""
    threads: int
    """Number of threads of torch and of the fused backend."""
    out: Path
    """Folder for the results."""


class Timing(NamedTuple):
    """The times of several runs of one action, in seconds."""

    median: float
    minimum: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Timing":
        """Summarize measured times."""
        return cls(median(seconds), min(seconds))


def seconds(action: Action) -> float:
    """The time that the action takes, in seconds."""
    start = perf_counter()
    action()
    return perf_counter() - start


def in_turn(actions: Mapping[str, Callable[[], Result]], repeat: int) -> dict[str, list[Result]]:
    """Results of actions run as a, b, a, b, ..., so that any disturbance affects all of them."""
    results: dict[str, list[Result]] = {name: [] for name in actions}
    for _ in range(repeat):
        for name, action in actions.items():
            results[name].append(action())
    return results


def alternated(actions: Mapping[str, Action], repeat: int) -> dict[str, Timing]:
    """Time actions that alternate, after one run of each that is not timed."""
    for action in actions.values():
        action()
    timed = {name: _timed(action) for name, action in actions.items()}
    return {name: Timing.of(runs) for name, runs in in_turn(timed, repeat).items()}


def _timed(action: Action) -> Callable[[], float]:
    return lambda: seconds(action)


def ratio(slow: Timing, fast: Timing) -> float:
    """The ratio of the medians."""
    return slow.median / fast.median


class PowerLaw(NamedTuple):
    """y = factor * x ** exponent; ``misfit`` is the largest y / fit or fit / y of the points."""

    exponent: float
    factor: float
    misfit: float


def fit_power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """Fit log y to log x by least squares.

    Raises:
        ValueError: there are fewer than two different x, or a number is not positive.
    """
    if len(set(x)) < 2 or min(*x, *y) <= 0:
        raise ValueError(f"a power law needs two different x, all numbers above 0: {x}, {y}")
    log_x, log_y = np.log(x), np.log(y)
    centered = log_x - log_x.mean()
    exponent = float(centered @ log_y / (centered @ centered))
    intercept = float(log_y.mean() - exponent * log_x.mean())
    residuals = np.abs(log_y - intercept - exponent * log_x)
    return PowerLaw(exponent, math.exp(intercept), math.exp(residuals.max()))


def say(text: str) -> None:
    """Print what is being measured on stderr."""
    print(text, file=sys.stderr, flush=True)
