"""Confidence intervals agree with published numbers."""

import pytest

from plasticrl.runs import mean_interval, rounded, wilson_interval
from plasticrl.runs.intervals import t95


def test_wilson() -> None:
    """The numbers are from Newcombe 1998, table I."""
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_the_interval_of_a_mean() -> None:
    """Otherwise it is too narrow or too wide; the values 1, 2, 3 have the deviation 1."""
    low, high = mean_interval([1, 2, 3])
    assert high - 2 == pytest.approx(4.30265 / 3**0.5)
    assert 2 - low == pytest.approx(high - 2)


@pytest.mark.parametrize(
    ("df", "t"),
    [
        (1, 12.706),
        (2, 4.303),
        (3, 3.182),
        (9, 2.262),
        (19, 2.093),
        (30, 2.042),
        (120, 1.980),
        (999, 1.962),
    ],
)
def test_student(df: int, t: float) -> None:
    """Otherwise the interval of few values is too narrow. Any printed table has them."""
    assert t95(df) == pytest.approx(t, abs=5e-4)


@pytest.mark.parametrize(
    ("reward", "text"),
    [(225.04, "225.0"), (-10.0, "-10.0"), (9.9949, "9.99"), (0.951, "0.95"), (-0.19, "-0.19")],
)
def test_small_rewards_have_more_decimals(reward: float, text: str) -> None:
    assert rounded(reward) == text
