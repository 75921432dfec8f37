"""Intervals, against figures from outside."""

import pytest
import torch

from plasticrl.tasks.evaluation import summary, wilson


def test_wilson() -> None:
    """Otherwise the interval is another one. The figures: Newcombe 1998, table I."""
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_a_mean_and_its_interval() -> None:
    """Otherwise it is too narrow or too wide: values 1, 2, 3 have deviation 1."""
    value, (low, high), episodes = summary(torch.tensor([1.0, 2.0, 3.0]).double(), False)
    assert (value, episodes) == (2.0, 3)
    assert high - value == pytest.approx(1.959964 / 3**0.5)
    assert value - low == pytest.approx(high - value)
