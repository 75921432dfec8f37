"""How time is taken: actions in turn, in one process; medians of several."""

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
    """What every benchmark is told."""

    quick: bool
    """Small sizes: a trial of the benchmark, not of the machine."""
    repeat: int
    """Timed runs of everything, after one that is not timed."""
    threads: int
    """Threads of torch and of the fused backend."""
    out: Path
    """Folder of the results."""


class Timing(NamedTuple):
    """Several runs of one action, in seconds."""

    median: float
    minimum: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Timing":
        """The summary of measured seconds."""
        return cls(median(seconds), min(seconds))


def seconds(action: Action) -> float:
    """How long the action takes."""
    start = perf_counter()
    action()
    return perf_counter() - start


def in_turn(actions: Mapping[str, Callable[[], Result]], repeat: int) -> dict[str, list[Result]]:
    """What the actions return: a, b, a, b, ... so that what disturbs one disturbs all."""
    results: dict[str, list[Result]] = {name: [] for name in actions}
    for _ in range(repeat):
        for name, action in actions.items():
            results[name].append(action())
    return results


def alternated(actions: Mapping[str, Action], repeat: int) -> dict[str, Timing]:
    """Timings of actions run in turn, after one run of each that is not counted."""
    for action in actions.values():
        action()
    timed = {name: _timed(action) for name, action in actions.items()}
    return {name: Timing.of(runs) for name, runs in in_turn(timed, repeat).items()}


def _timed(action: Action) -> Callable[[], float]:
    return lambda: seconds(action)


def ratio(slow: Timing, fast: Timing) -> float:
    """How many times longer the slow one's median is."""
    return slow.median / fast.median


class PowerLaw(NamedTuple):
    """y = factor * x ** exponent, and the largest y / fit or fit / y of the points."""

    exponent: float
    factor: float
    misfit: float


def fit_power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """Least squares of log y on log x.

    Raises:
        ValueError: for fewer than two different x, or a number that is not above zero.
    """
    if len(set(x)) < 2 or min(*x, *y) <= 0:
        raise ValueError(f"a power law needs two different x, all numbers above 0: {x}, {y}")
    log_x, log_y = np.log(x), np.log(y)
    centred = log_x - log_x.mean()
    exponent = float(centred @ log_y / (centred @ centred))
    intercept = float(log_y.mean() - exponent * log_x.mean())
    off = np.abs(log_y - intercept - exponent * log_x)
    return PowerLaw(exponent, math.exp(intercept), math.exp(off.max()))


def say(text: str) -> None:
    """Tell whoever waits what is being measured, on stderr."""
    print(text, file=sys.stderr, flush=True)
