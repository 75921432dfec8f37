"""Summaries of a metric over many episodes, with 95 % confidence intervals."""

import math
from typing import NamedTuple

from torch import Tensor

from plasticrl.runs import mean_interval, wilson_interval
from plasticrl.runs.intervals import Z95


class Measurement(NamedTuple):
    """A summary of the metric over the held-out episodes; the task's ``metric`` says which one."""

    value: float
    ci95: tuple[float, float]
    episodes: int


def mean(values: Tensor) -> Measurement:
    """Mean of (n,) values, with Student's interval."""
    return Measurement(values.mean().item(), mean_interval(values.tolist()), len(values))


def median(values: Tensor) -> Measurement:
    """Median of (n,) values, with an interval between two of the sorted values.

    Their ranks are k and n + 1 - k, with k = n / 2 - 1.96 sqrt(n) / 2 rounded down (at least 1),
    from the normal approximation of the binomial distribution (Conover 1999, Practical
    Nonparametric Statistics).
    """
    n, ordered = len(values), values.sort().values
    rank = max(1, math.floor(n / 2 - Z95 * math.sqrt(n) / 2))
    ends = (ordered[rank - 1].item(), ordered[n - rank].item())
    return Measurement(values.quantile(0.5).item(), ends, n)


def share(values: Tensor) -> Measurement:
    """Proportion of ones among (n,) zeros and ones, with Wilson's interval."""
    ones = values.mean().item()
    return Measurement(ones, wilson_interval(ones, len(values)), len(values))
