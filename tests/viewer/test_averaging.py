"""Averages over runs, against cases worked by hand."""

from itertools import product

import numpy as np
import pytest

from plasticrl.viewer import ViewerError
from plasticrl.viewer.averaging import GRID, Points, average_runs, bootstrap, center, common_grid


def points(steps: list[int], values: list[float], name: str = "run") -> Points:
    return Points(name, np.array(steps), np.array(values, dtype=float))


def column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def test_equal_steps_are_the_grid() -> None:
    """Otherwise measured values would be replaced by interpolated ones."""
    curve = average_runs("a", [points([10, 20, 40], [1, 2, 3]), points([10, 20, 40], [3, 2, 5])])
    assert curve.steps.tolist() == [10, 20, 40]
    assert curve.runs.tolist() == [[1, 2, 3], [3, 2, 5]]
    assert curve.center.tolist() == [2, 2, 4]


def test_other_steps_are_interpolated_in_the_range_of_both() -> None:
    """Otherwise a run is extrapolated, or averaged at another step.

    By hand: from 10 to 30 the first is 0, 10, 20 at 10, 20, 30; the second, 1 a step, 5 + 1 at 10.
    """
    curve = average_runs("a", [points([0, 20, 60], [-10, 10, 50]), points([10, 30], [6, 26])])
    assert curve.steps.tolist() == [10, 20, 30]
    assert curve.runs.tolist() == [[0, 10, 20], [6, 16, 26]]
    assert curve.center.tolist() == [3, 13, 23]


def test_a_long_run_is_thinned_and_keeps_its_ends() -> None:
    """Otherwise a picture of 100,000 points would take minutes, or end before the run does."""
    steps = list(range(5, 40_005, 2))
    grid = common_grid([points(steps, [0.0] * len(steps))])
    assert (len(grid), grid[0], grid[-1]) == (GRID, 5, 40_003)
    assert np.diff(grid) == pytest.approx((40_003 - 5) / (GRID - 1))


def test_a_single_run_has_no_interval() -> None:
    """Otherwise a single seed has an interval, although other seeds are unknown."""
    curve = average_runs("a", [points([1, 2], [5, 6])])
    assert (curve.low, curve.high) == (None, None)
    assert curve.center.tolist() == [5, 6]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((7.0,), 7.0),
        ((1.0, 5.0), 3.0),
        # Of three, each a third: 1/12 of the lowest, the middle one whole, 1/12 of the highest.
        ((30.0, 0.0, 12.0), (0 / 12 + 12 / 3 + 30 / 12) / (1 / 12 + 1 / 3 + 1 / 12)),
        ((9.0, 100.0, 1.0, 2.0), 5.5),
        ((-50.0, 4.0, 3.0, 2.0, 1.0, 70.0, 90.0, -9.0), 2.5),
    ],
)
def test_the_interquartile_mean_by_hand(values: tuple[float, ...], expected: float) -> None:
    """Otherwise a single collapsed seed changes the average, or the average is a median."""
    assert center(column(*values), "iqm") == pytest.approx(expected)
    assert center(column(*values), "mean") == pytest.approx(np.mean(values))


def test_the_interval_of_two_runs_is_the_runs() -> None:
    """The two resamples that hold a single run, each 1 in 4, lie within the 95 % interval."""
    low, high = bootstrap(np.array([[1.0, 8.0], [3.0, 2.0]]), "mean")
    assert (low.tolist(), high.tolist()) == ([1, 2], [3, 8])


@pytest.mark.parametrize("average", ["mean", "iqm"])
def test_the_interval_against_all_resamples(average: str) -> None:
    """Otherwise the band is too narrow or wide. The oracle uses all 4^4 resamples of 4 runs."""
    values = column(0.0, 1.0, 4.0, 16.0)
    every = [center(values[list(chosen)], average)[0] for chosen in product(range(4), repeat=4)]
    low, high = bootstrap(values, average)
    exact = np.percentile(every, (2.5, 97.5))
    # The share of all resamples beyond either bound: one in forty.
    assert np.mean(every < low) <= 0.025 + 0.01
    assert np.mean(every > high) <= 0.025 + 0.01
    assert (low[0], high[0]) == pytest.approx(tuple(exact), abs=0.8)


def test_the_interval_of_a_normal_sample() -> None:
    """The oracle is 1.96 s / sqrt(n) with n = 100; the bootstrap's noise is a few percent of it."""
    values = np.random.default_rng(3).normal(size=(100, 1))
    low, high = bootstrap(values, "mean")
    half = 1.96 * values.std(ddof=1) / 10
    assert (values.mean() - low, high - values.mean()) == (
        pytest.approx(half, rel=0.1),
        pytest.approx(half, rel=0.1),
    )


def test_the_interval_is_always_the_same() -> None:
    """Otherwise the same runs give another picture each time, or slices of a grid do not fit."""
    values = np.random.default_rng(0).normal(size=(3, 170))
    for one, other in zip(
        bootstrap(values, "mean"), bootstrap(values[:, 90:], "mean"), strict=True
    ):
        assert one[90:].tolist() == other.tolist()


def test_no_range_in_common() -> None:
    """Otherwise the curve would be extrapolated."""
    early, late = points([0, 10], [0, 1], "early"), points([10, 1000], [0, 1], "late")
    with pytest.raises(
        ViewerError, match=r"late begins at step 10, where early has ended \(step 10\)"
    ):
        average_runs("a", [early, late])
    with pytest.raises(ViewerError, match="early has a single value: a curve needs two"):
        average_runs("a", [points([5], [1], "early")])
