"""95 % confidence intervals of a mean and of a proportion, and means as text."""

import math
from collections.abc import Iterable

Z95 = 1.959963984540054
"""The z with P(|Z| <= z) = .95, of the standard normal distribution."""


def mean_interval(values: Iterable[float]) -> tuple[float, float]:
    """Student's interval of the mean of at least two values."""
    sample = [float(value) for value in values]
    n = len(sample)
    mean = math.fsum(sample) / n
    variance = math.fsum((value - mean) ** 2 for value in sample) / (n - 1)
    half = t95(n - 1) * math.sqrt(variance / n)
    return mean - half, mean + half


def t95(df: int) -> float:
    """The t with P(|T| <= t) = .95, of Student's distribution with ``df`` degrees of freedom."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):  # halves the bracket until it is one rounding error wide
        angle = (low + high) / 2
        low, high = (low, angle) if student_probability(angle, df) > 0.95 else (angle, high)
    return math.sqrt(df) * math.tan(low)


def student_probability(angle: float, df: int) -> float:
    """P(|T| <= sqrt(df) tan(angle)), by a finite series (Abramowitz & Stegun 1964, 26.7.3-4).

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


def wilson_interval(proportion: float, n: int) -> tuple[float, float]:
    """Wilson's interval of a proportion of n (Wilson 1927, JASA 22)."""
    z2 = Z95**2 / n
    center = (proportion + z2 / 2) / (1 + z2)
    half = math.sqrt(proportion * (1 - proportion) * z2 + z2**2 / 4) / (1 + z2)
    return center - half, center + half


def rounded(reward: float) -> str:
    """A mean reward as text, with more decimals where rewards are small."""
    return f"{reward:.1f}" if abs(reward) >= 10 else f"{reward:.2f}"
