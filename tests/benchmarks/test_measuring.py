"""Medians, ratios, exponents and counts, by hand."""

import pytest
from benchmarks.measuring import Timing, fit_power_law, in_turn, ratio
from benchmarks.share import cost


def test_median_and_minimum() -> None:
    """Of an odd and of an even number of runs; a mean would be 4 and 2.75."""
    assert Timing.of([9.0, 1.0, 2.0]) == Timing(median=2.0, minimum=1.0)
    assert Timing.of([1.0, 2.0, 3.0, 5.0]) == Timing(median=2.5, minimum=1.0)


def test_the_ratio_is_of_medians_slow_by_fast() -> None:
    assert ratio(Timing(6.0, 1.0), Timing(1.5, 1.0)) == 4


def test_actions_are_run_in_turn() -> None:
    """Otherwise a temporary disturbance of the machine affects only one of them."""
    order: list[str] = []

    def note(name: str) -> int:
        order.append(name)
        return len(order)

    results = in_turn({"a": lambda: note("a"), "b": lambda: note("b")}, repeat=2)
    assert order == ["a", "b", "a", "b"]
    assert results == {"a": [1, 3], "b": [2, 4]}


def test_the_exponent_of_a_power_law() -> None:
    """y = 3 x^2 exactly."""
    fit = fit_power_law([1, 2, 5], [3, 12, 75])
    assert fit == pytest.approx((2, 3, 1))


def test_the_misfit_is_the_farthest_points_factor() -> None:
    """By symmetry the line through (1/2, 1), (1, 8) and (2, 1) is y = 2: off by 2, 4 and 2."""
    fit = fit_power_law([0.5, 1, 2], [1, 8, 1])
    assert fit == pytest.approx((0, 2, 4))


@pytest.mark.parametrize(("x", "y"), [([2, 2], [1, 3]), ([1, 2], [0, 1]), ([-1, 2], [1, 1])])
def test_no_exponent_where_there_is_none(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match="power law"):
        fit_power_law(x, y)


def test_operations_and_bytes_of_four_steps() -> None:
    """Two segments of two steps: half of the traces are checkpoints, half are made again.

    Operations 8 + 4/2 + 18 + 9/2; reads and writes of 4 bytes: 4 + 2/2 + 7 + 7/2 + 4/2.
    """
    assert cost(4, 1) == pytest.approx((32.5, 4 * 17.5))
