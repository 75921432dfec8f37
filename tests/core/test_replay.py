"""A stepper's replay gives outputs and gradients of exactly the steps taken, or an error."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.cases import TOLERANCE, Case, plastic_cells
from tests.core.conftest import described, kinds, small
from torch import Tensor

from plasticrl.core import Cell, build_cell, sequence, stepper
from plasticrl.core.backends.cpu import NumbaKernels
from plasticrl.core.replay import ReplayError
from plasticrl.core.state import leaves, map_leaves
from plasticrl.core.unroll import Stepper

N_STEPS, N_ROWS = 12, 3
OPTIONS: dict[str, Any] = {"modulation": "retroactive", "clip": 0.3}


def stepped_through(case: Case, n_steps: int, backend: str = "auto") -> Stepper[Any]:
    """A stepper that has taken all steps of a case and recorded the first ``n_steps``."""
    state = map_leaves(lambda leaf: leaf.detach().clone(), case.state)
    steps = stepper(case.cell, state, backend, n_steps=n_steps)
    for inputs, starts in zip(case.inputs.detach(), case.starts, strict=True):
        steps(inputs, starts)
    return steps


def replayed(steps: Stepper[Any]) -> Callable[..., Any]:
    """A replacement of ``sequence`` in a case."""
    return lambda *_: steps.replay()


def check(ours: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, value in ours.items():
        tolerance = TOLERANCE[value.dtype]
        worst = ((value - expected[name]).abs() / (1 + expected[name].abs())).max().item()
        assert worst < tolerance, f"{name} is off by {worst}"


@settings(max_examples=60)
@given(
    cell=plastic_cells(),
    n_steps=st.sampled_from([1, 2, 5, N_STEPS]),
    n_rows=st.sampled_from([1, 2, 5]),
    p_start=st.sampled_from([0.0, 0.2, 0.7]),
)
def test_a_replay_equals_the_sequence_and_runs_no_forward_pass(
    cell: Cell[Any], n_steps: int, n_rows: int, p_start: float
) -> None:
    """Otherwise an agent learns from another net than the one that acted.

    This is tested in double precision, because some of these nets amplify single-precision rounding
    errors to .01, in the eager backend too.
    """
    case = Case(cell.double(), n_steps, n_rows, p_start)
    steps = stepped_through(case, n_steps)
    expected = case.results(sequence)
    with patch.object(NumbaKernels, "forward", side_effect=AssertionError("run again")):
        ours = case.parameter_results(replayed(steps))
    check(ours, expected)


@pytest.mark.parametrize("kind", list(kinds()), ids=described)
def test_every_cell_and_backend_replays(kind: tuple[str, dict[str, Any]], backend: str) -> None:
    """Otherwise agents with other cores need other code."""
    torch.manual_seed(0)
    cell = small(*kind)
    case = Case(cell, N_STEPS, N_ROWS, 0.2, torch.float64)
    steps = stepped_through(case, N_STEPS, backend)
    if next(cell.parameters(), None) is None:
        assert torch.equal(steps.replay()[0], case.inputs)
        return
    expected = case.results(lambda *given: sequence(*given, backend=backend))
    check(case.parameter_results(replayed(steps)), expected)


def rnn_case(**options: Any) -> Case:
    torch.manual_seed(0)
    return Case(build_cell("plastic_rnn", 3, hidden_size=7, **options), N_STEPS, N_ROWS, 0.2)


def other_weights(case: Case) -> None:
    next(iter(case.cell.parameters())).data += 0.1  # which autograd does not count


def other_options(case: Case) -> None:
    connection = case.cell.connection
    assert connection is not None
    connection.plasticity = replace(connection.plasticity, clip=0.2)


def other_precision(case: Case) -> None:
    case.cell.double()


@pytest.mark.parametrize("change", [other_weights, other_options, other_precision])
def test_a_cell_that_has_changed_is_not_replayed(
    change: Callable[[Case], None], backend: str
) -> None:
    """Otherwise the gradient mixes the old net and the new one."""
    case = rnn_case(**OPTIONS)
    steps = stepped_through(case, N_STEPS, backend)
    change(case)
    with pytest.raises(ReplayError, match=r"cannot be replayed.*(weights|options) have changed"):
        steps.replay()


@pytest.mark.parametrize("change", ["inputs", "starts", "start state", "mode"])
def test_what_the_caller_changes_later_changes_no_replay(change: str) -> None:
    """Otherwise an environment that overwrites its last observation spoils the gradient."""
    case = rnn_case(**OPTIONS)
    expected = case.results(sequence)
    state = map_leaves(lambda leaf: leaf.detach().clone(), case.state)
    steps = stepper(case.cell, state, n_steps=N_STEPS)
    inputs, starts = torch.empty(N_ROWS, 3), torch.empty(N_ROWS, dtype=torch.bool)
    for now, starting in zip(case.inputs.detach(), case.starts, strict=True):
        steps(inputs.copy_(now), starts.copy_(starting))
    if change == "inputs":
        inputs.fill_(torch.nan)
    elif change == "starts":
        starts.fill_(True)
    elif change == "start state":
        for leaf in leaves(state):
            leaf.fill_(torch.nan)
    else:
        case.cell.train(not case.cell.training)
    check(case.parameter_results(replayed(steps)), expected)


@pytest.mark.parametrize("by_whom", [None, "fused", "eager"])
def test_a_state_that_others_change_between_two_steps_is_not_replayed(by_whom: str | None) -> None:
    """Otherwise the replay silently ignores the change."""
    case = rnn_case()
    state = map_leaves(lambda leaf: leaf.detach().clone(), case.state)
    steps = stepper(case.cell, state, n_steps=N_STEPS)
    other = None if by_whom is None else stepper(case.cell, state, by_whom)
    for t, (inputs, starts) in enumerate(zip(case.inputs.detach(), case.starts, strict=True)):
        if t == 5:
            if other is None:
                state.trace.mul_(0.5)
            else:
                other(inputs)
        steps(inputs, starts)
    with pytest.raises(ReplayError, match="state was changed other than by the steps"):
        steps.replay()


def test_inference_mode_allows_steps_but_no_replay() -> None:
    """Otherwise torch raises an error, because it counts no changes of inference tensors."""
    with torch.inference_mode():
        cell = build_cell("plastic_rnn", 3, hidden_size=5)
        steps = stepper(cell, cell.initial_state(2), n_steps=2)
        for _ in range(2):
            assert steps(torch.zeros(2, 3)).shape == (2, 5)
        with pytest.raises(ReplayError, match="inference mode"):
            steps.replay()


def test_a_negative_number_of_steps_is_refused() -> None:
    """Otherwise the user reads an error about a square root."""
    cell = build_cell("plastic_rnn", 3, hidden_size=5)
    with pytest.raises(ValueError, match="n_steps"):
        stepper(cell, cell.initial_state(2), n_steps=-1)


@pytest.mark.parametrize(("n_steps", "words"), [(0, "n_steps=0"), (N_STEPS + 1, "12 of 13 steps")])
def test_steps_that_were_not_recorded_are_not_replayed(n_steps: int, words: str) -> None:
    """Otherwise the replay has steps that were not taken."""
    steps = stepped_through(rnn_case(), n_steps)
    with pytest.raises(ReplayError, match=words):
        steps.replay()


def test_later_steps_leave_the_record_as_it_is() -> None:
    """Otherwise the final state is that of a later step."""
    case = rnn_case()
    steps, expected = stepped_through(case, N_STEPS), case.results(sequence)
    steps(torch.ones(N_ROWS, 3))
    with patch.object(NumbaKernels, "forward", side_effect=AssertionError("run again")):
        ours = case.parameter_results(replayed(steps))
    check(ours, expected)


def test_a_second_replay_is_computed_anew() -> None:
    """Otherwise a caller who changes the outputs also changes those of the next replay."""
    case = rnn_case()
    steps = stepped_through(case, N_STEPS)
    with torch.no_grad():
        outputs, state = steps.replay()
        outputs.fill_(3.0)
        for leaf in leaves(state):
            leaf.fill_(3.0)
    check(case.parameter_results(replayed(steps)), case.results(sequence))


def test_a_state_changed_before_the_first_step_is_noticed(backend: str) -> None:
    """Otherwise the replay silently starts from another state than the steps."""
    cell = build_cell("plastic_rnn", 3, hidden_size=4)
    state = cell.initial_state(2)
    steps = stepper(cell, state, backend, n_steps=1)
    state.hidden.fill_(0.5)
    steps(torch.ones(2, 3))
    with pytest.raises(ReplayError, match="changed other than by the steps"):
        steps.replay()
