"""A stepper's memory: a sequence that was stepped through is not run again, and nothing else is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.cases import TOLERANCE, Case, plastic_cells
from torch import Tensor

from plasticrl.core import Cell, build_cell, sequence, stepper
from plasticrl.core.backends.cpu import NumbaKernels
from plasticrl.core.state import leaves, map_leaves
from plasticrl.core.unroll import Stepper

N_STEPS, N_ROWS = 12, 3
OPTIONS: dict[str, Any] = {"modulation": "retroactive", "clip": 0.3}


def stepped_through(case: Case, n_steps: int, backend: str = "auto") -> Stepper:
    """A stepper that has gone through the case, and remembers so many of its steps."""
    state = map_leaves(lambda leaf: leaf.detach().clone(), case.state)
    advance = stepper(case.cell, state, backend, n_steps=n_steps)
    for inputs, starts in zip(case.inputs.detach(), case.starts, strict=True):
        advance(inputs, starts)
    return advance


def by(advance: Stepper) -> Callable[..., Any]:
    """``sequence`` of a case, with what a stepper remembers."""

    def run(cell: Cell[Any], inputs: Tensor, state: Any, starts: Tensor) -> Any:
        return sequence(cell, inputs, state, starts, stepped=advance)

    return run


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
def test_what_is_remembered_is_what_would_be_computed(
    cell: Cell[Any], n_steps: int, n_rows: int, p_start: float
) -> None:
    """Otherwise an agent learns from another net than the one that acted.

    In double precision: some of these nets make a hundredth of a single one's rounding, eager too.
    """
    case = Case(cell.double(), n_steps, n_rows, p_start)
    advance = stepped_through(case, n_steps)
    expected = case.results(sequence)
    with patch.object(NumbaKernels, "forward", side_effect=AssertionError("run again")):
        ours = case.results(by(advance))
    check(ours, expected)


def rnn_case(**options: Any) -> Case:
    torch.manual_seed(0)
    return Case(build_cell("plastic_rnn", 3, hidden_size=7, **options), N_STEPS, N_ROWS, 0.2)


def other_weights(case: Case) -> None:
    """As an optimizer that goes past autograd."""
    next(iter(case.cell.parameters())).data += 0.1


def other_cell(case: Case) -> None:
    """With equal weights."""
    twin = build_cell("plastic_rnn", 3, hidden_size=7, **OPTIONS | {"clip": 0.2})
    twin.load_state_dict(case.cell.state_dict())
    case.cell = twin


def other_options(case: Case) -> None:
    connection = case.cell.connection
    assert connection is not None
    connection.plasticity = replace(connection.plasticity, clip=0.2)


def other_precision(case: Case) -> None:
    case.cell.double()
    case.inputs = case.inputs.detach().double().requires_grad_()
    case.state = map_leaves(lambda leaf: leaf.detach().double().requires_grad_(), case.state)
    case.upstream = [gradient.double() for gradient in case.upstream]


def other_inputs(case: Case) -> None:
    case.inputs.data[3, 1, 2] += 1e-6


def other_starts(case: Case) -> None:
    case.starts[5, 2] = ~case.starts[5, 2]


def other_state(case: Case) -> None:
    case.state.trace.data[0, 1, 1] += 1e-6


def fewer_steps(case: Case) -> None:
    case.inputs = case.inputs.detach()[:-1].requires_grad_()
    case.starts, case.upstream[0] = case.starts[:-1], case.upstream[0][:-1]


def fewer_rows(case: Case) -> None:
    case.inputs = case.inputs.detach()[:, :-1].requires_grad_()
    case.state = map_leaves(lambda leaf: leaf.detach()[:-1].requires_grad_(), case.state)
    case.starts = case.starts[:, :-1]
    outputs, *final = case.upstream
    case.upstream = [outputs[:, :-1], *(leaf[:-1] for leaf in final)]


CHANGES = [
    other_weights,
    other_cell,
    other_options,
    other_precision,
    other_inputs,
    other_starts,
    other_state,
    fewer_steps,
    fewer_rows,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_was_not_stepped_through_is_run(change: Callable[[Case], None]) -> None:
    """Otherwise values of another net, another past or other inputs are taken for these."""
    case = rnn_case(**OPTIONS)
    advance = stepped_through(case, N_STEPS)
    change(case)
    with patch.object(NumbaKernels, "forward", side_effect=NumbaKernels().forward) as forward:
        ours = case.results(by(advance))
    assert forward.call_count == 1
    for name, value in case.results(sequence).items():
        assert torch.equal(ours[name], value), name


@pytest.mark.parametrize("by_whom", [None, "fused", "eager"])
def test_a_state_that_others_change_between_two_steps_is_no_way_through(
    by_whom: str | None,
) -> None:
    """Otherwise the gradient is that of a past in which nobody else has changed it."""
    case = rnn_case()
    state = map_leaves(lambda leaf: leaf.detach().clone(), case.state)
    advance = stepper(case.cell, state, n_steps=N_STEPS)
    other = None if by_whom is None else stepper(case.cell, state, by_whom)
    for inputs, starts in zip(case.inputs.detach(), case.starts, strict=True):
        advance(inputs, starts)
        if other is None:
            state.trace.mul_(0.5)
        else:
            other(inputs)
    ours = case.results(by(advance))
    for name, value in case.results(sequence).items():
        assert torch.equal(ours[name], value), name


def test_inference_tensors_are_not_remembered() -> None:
    """Otherwise torch has an error for whoever asks how often they changed."""
    with torch.inference_mode():
        cell = build_cell("plastic_rnn", 3, hidden_size=5)
        advance = stepper(cell, cell.initial_state(2), n_steps=2)
        assert advance.memory is None
        assert advance(torch.zeros(2, 3)).shape == (2, 5)


def test_a_negative_number_of_steps_is_refused() -> None:
    """Otherwise the error is a square root's."""
    cell = build_cell("plastic_rnn", 3, hidden_size=5)
    with pytest.raises(ValueError, match="n_steps"):
        stepper(cell, cell.initial_state(2), n_steps=-1)


@pytest.mark.parametrize("n_steps", [0, N_STEPS + 1])
def test_a_memory_that_is_not_full_gives_nothing(n_steps: int) -> None:
    """Otherwise steps that were not taken are made up."""
    case = rnn_case()
    advance = stepped_through(case, n_steps)
    with patch.object(NumbaKernels, "forward", side_effect=NumbaKernels().forward) as forward:
        case.results(by(advance))
    assert forward.call_count == 1


def test_steps_beyond_the_memory_leave_it_as_it_is() -> None:
    """Otherwise the final state is a later one."""
    case = rnn_case()
    advance, expected = stepped_through(case, N_STEPS), case.results(sequence)
    advance(torch.ones(N_ROWS, 3))
    with patch.object(NumbaKernels, "forward", side_effect=AssertionError("run again")):
        ours = case.results(by(advance))
    check(ours, expected)


def test_it_is_handed_over_once() -> None:
    """Otherwise whoever writes into the outputs writes into those of the next one who asks."""
    case = rnn_case()
    run = by(stepped_through(case, N_STEPS))
    with torch.no_grad():
        outputs, state = run(case.cell, case.inputs, case.state, case.starts)
        outputs.fill_(3.0)
        for leaf in leaves(state):
            leaf.fill_(3.0)
    check(case.results(run), case.results(sequence))


@pytest.mark.parametrize("name", ["rnn", "lstm", "plastic_lstm"])
def test_a_core_without_memory_is_run(name: str) -> None:
    """Otherwise other cores cannot act and learn by the same lines."""
    torch.manual_seed(0)
    case = Case(build_cell(name, 3, hidden_size=5), N_STEPS, N_ROWS, 0.2)
    check(case.results(by(stepped_through(case, N_STEPS))), case.results(sequence))


def test_eager_is_run() -> None:
    """Otherwise whoever asks for the specification is given something else."""
    case = rnn_case()
    advance = stepped_through(case, N_STEPS)
    assert stepped_through(case, N_STEPS, "eager").memory is None

    def eager(cell: Cell[Any], inputs: Tensor, state: Any, starts: Tensor) -> Any:
        return sequence(cell, inputs, state, starts, "eager", stepped=advance)

    expected = case.results(lambda *given: sequence(*given, "eager"))
    for name, value in case.results(eager).items():
        assert torch.equal(value, expected[name]), name
