"""Intervals, against figures from outside."""

import pytest
import torch

from plasticrl.tasks.summary import mean, median, share


def test_a_mean_and_its_interval() -> None:
    """Otherwise it is too narrow or too wide: values 1, 2, 3 have deviation 1."""
    value, (low, high), episodes = mean(torch.tensor([1.0, 2.0, 3.0]).double())
    assert (value, episodes) == (2.0, 3)
    assert high - value == pytest.approx(4.30265 / 3**0.5)
    assert value - low == pytest.approx(high - value)


def test_a_median_and_its_interval() -> None:
    """Otherwise it is too narrow or too wide. Of 100 values, the 40th and the 61st."""
    values = torch.arange(100.0, 0.0, -1.0).double()
    assert median(values) == (50.5, (40.0, 61.0), 100)


def test_a_share_and_its_interval() -> None:
    """Otherwise accuracies get the interval of a mean, which can go beyond 1."""
    value, interval, episodes = share(torch.tensor([1.0] * 81 + [0.0] * 182).double())
    assert (value, episodes) == (81 / 263, 263)
    assert interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
