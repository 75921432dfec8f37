"""The plastic LSTM computed without its trace gives the same results, or is not used."""

from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.cases import Case

from plasticrl.core import Cell, build_cell
from plasticrl.core.backends import traceless
from plasticrl.core.backends.eager import EAGER
from plasticrl.core.backends.traceless import TRACELESS

SIZE = 13


@st.composite
def cells(draw: st.DrawFn) -> Cell[Any]:
    """A plastic_lstm in float64 whose trace is a sum of increments."""
    options: dict[str, Any] = {
        "bound": draw(st.sampled_from(["hard", "none"])),
        "alpha": draw(st.sampled_from(["neuron", "scalar"])),
        "modulation": draw(st.sampled_from(["none", "simple"])),
        "alpha_scale": 1.0,
    }
    if options["bound"] == "hard":
        options["clip"] = draw(st.sampled_from([0.5, 50.0]))
    if options["modulation"] == "simple":
        options["fan_out"] = draw(st.booleans())
        options["modulator_input"] = draw(st.sampled_from(["hidden", "cell"]))
    torch.manual_seed(draw(st.integers(0, 2**16)))
    return build_cell("plastic_lstm", 3, hidden_size=SIZE, **options).double()


@settings(max_examples=60)
@given(
    cell=cells(),
    n_steps=st.sampled_from([1, 2, 5, 12]),
    n_rows=st.sampled_from([1, 3]),
    p_start=st.sampled_from([0.0, 0.2]),
)
def test_it_equals_eager(cell: Cell[Any], n_steps: int, n_rows: int, p_start: float) -> None:
    """Otherwise leaving out the trace changes the net."""
    case = Case(cell, n_steps, n_rows, p_start)
    assert TRACELESS.supports(cell, case.inputs)
    expected = case.results(EAGER.run)
    for name, value in case.results(TRACELESS.run).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-9, msg=name)


def case(clip: float) -> Case:
    torch.manual_seed(0)
    options = {"modulation": "simple", "clip": clip, "alpha": "neuron"}
    return Case(build_cell("plastic_lstm", 3, hidden_size=SIZE, **options).double(), 6, 2, 0.1)


@pytest.mark.parametrize(("clip", "times"), [(0.3, 1), (100.0, 0)])
def test_it_is_not_used_if_the_bound_may_be_reached(clip: float, times: int) -> None:
    """Otherwise a trace exceeds its bound, or the slow backend is always used."""
    given_case = case(clip)
    with patch.object(EAGER, "run", wraps=EAGER.run) as fallback:
        found = given_case.results(TRACELESS.run)
    assert fallback.call_count == times
    assert (found["final trace"].abs() == clip).any() == (clip < 1)


def test_the_initial_trace_counts_for_the_guard() -> None:
    """Otherwise a trace that starts near its bound exceeds it."""
    near = case(1.0)
    near.state = near.state._replace(trace=torch.full_like(near.state.trace, 0.999))
    with patch.object(EAGER, "run", wraps=EAGER.run) as fallback:
        TRACELESS.run(near.cell, near.inputs, near.state, None)
    assert fallback.call_count == 1


def test_nan_stays_visible_and_in_its_row() -> None:
    """Otherwise a diverged row is hidden or spoils the others."""
    broken = case(100.0)
    with torch.no_grad():
        broken.inputs[1, 0, 0] = torch.nan
        starts = torch.zeros(6, 2, dtype=torch.bool)
        starts[4, 0] = True
        outputs, state = TRACELESS.run(broken.cell, broken.inputs, broken.state, starts)
    assert outputs[1:4, 0].isnan().all()
    assert outputs[4:].isfinite().all()
    assert outputs[:, 1].isfinite().all()
    assert state.trace.isfinite().all()


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": "connection"},
        {"rule": "oja", "alpha": "neuron"},
        {"bound": "soft", "alpha": "neuron"},
        {"bound": "decay", "alpha": "scalar"},
        {"modulation": "retroactive", "alpha": "neuron"},
    ],
)
def test_unsupported_rules_keep_their_trace(options: dict[str, Any]) -> None:
    """Otherwise an unsupported rule is computed as plain Hebb."""
    cell = build_cell("plastic_lstm", 3, hidden_size=SIZE, **options)
    assert not TRACELESS.supports(cell, torch.zeros(2, 1, 3))


def test_long_sequences_of_narrow_layers_keep_their_trace() -> None:
    """For these, T^2 N numbers are more than T N^2."""
    cell = build_cell("plastic_lstm", 3, hidden_size=SIZE, alpha="neuron")
    assert TRACELESS.supports(cell, torch.zeros(SIZE - 1, 1, 3))
    assert not TRACELESS.supports(cell, torch.zeros(SIZE, 1, 3))


@pytest.mark.parametrize(("clip", "met"), [(10.0, False), (0.5, True)])
def test_updates_that_undo_each_other_do_not_add_up_in_the_guard(clip: float, met: bool) -> None:
    """Otherwise every long sequence uses the slow backend; 40 steps of +1 and -1 stay within 1."""
    one = torch.ones(1, 1)
    updates = [(one if t % 2 == 0 else -one, one) for t in range(40)]
    assert traceless._may_have_been_clipped(clip, torch.zeros(1, 1, 1), updates, None) is met
    starts = torch.zeros(40, 1, dtype=torch.bool)
    starts[21] = True
    assert traceless._may_have_been_clipped(clip, torch.zeros(1, 1, 1), updates, starts) is met
