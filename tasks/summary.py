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
    """Mean of (n,) values, with Student's interval."""
    n, centre = len(values), values.mean().item()
    half = t95(n - 1) * values.std().item() / math.sqrt(n)
    return Measurement(centre, (centre - half, centre + half), n)


def t95(df: int) -> float:
    """The t with P(|T| <= t) = .95, of Student's distribution with ``df`` degrees of freedom."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):  # halved beyond the last bit
        angle = (low + high) / 2
        low, high = (low, angle) if within(angle, df) > 0.95 else (angle, high)
    return math.sqrt(df) * math.tan(low)


def within(angle: float, df: int) -> float:
    """P(|T| <= sqrt(df) tan(angle)), by its finite series (Abramowitz & Stegun 1964, 26.7.3-4).

        even df:  sin a ( 1 + 1/2 cos^2 a + 1*3/(2*4) cos^4 a + ... )
        odd df:   2/pi ( a + sin a ( cos a + 2/3 cos^3 a + 2*4/(3*5) cos^5 a + ... ) )

    with df // 2 terms.
    """
    odd, cosine = df % 2, math.cos(angle)
    term, total = cosine**odd, 0.0
    for k in range(1, df // 2 + 1):
        total += term
        term *= (2 * k - 1 + odd) / (2 * k + odd) * cosine**2
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


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
