"""What a metric's values in many episodes come to, with a 95 % interval."""

import math
from typing import NamedTuple

from torch import Tensor

Z95 = 1.959963984540054


class Measurement(NamedTuple):
    """What ``value`` is of the episodes, the task's ``metric`` says."""

    value: float
    ci95: tuple[float, float]
    episodes: int


def mean(values: Tensor) -> Measurement:
    """Mean of (n,) values, with the normal interval."""
    n, centre = len(values), values.mean().item()
    half = Z95 * values.std().item() / math.sqrt(n)
    return Measurement(centre, (centre - half, centre + half), n)


def median(values: Tensor) -> Measurement:
    """Median of (n,) values, between the two values whose ranks bound it.

    The ranks are k and n + 1 - k, with k = n / 2 - 1.96 sqrt(n) / 2 rounded down (at least 1), from
    the normal approximation of the binomial (Conover 1999, Practical Nonparametric Statistics).
    """
    n, ordered = len(values), values.sort().values
    rank = max(1, math.floor(n / 2 - Z95 * math.sqrt(n) / 2))
    ends = (ordered[rank - 1].item(), ordered[n - rank].item())
    return Measurement(values.quantile(0.5).item(), ends, n)


def share(values: Tensor) -> Measurement:
    """Share of ones among (n,) zeros and ones, with Wilson's interval."""
    ones = values.mean().item()
    return Measurement(ones, wilson(ones, len(values)), len(values))


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of n (Wilson 1927, JASA 22)."""
    z2 = Z95**2 / n
    centre = (share + z2 / 2) / (1 + z2)
    half = math.sqrt(share * (1 - share) * z2 + z2**2 / 4) / (1 + z2)
    return centre - half, centre + half
