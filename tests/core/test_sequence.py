"""Chunks, rows and episodes of a sequence have the same results as when each is run alone.

The tests compare outputs, final state, and the gradients of inputs, initial state and parameters
for random upstream gradients of outputs and final state.
"""

from collections.abc import Callable, Sequence
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from plasticrl.core import Cell, build_cell, sequence, stepper
from plasticrl.core.backends import BACKENDS
from plasticrl.core.state import leaves, map_leaves, unflatten

Run = Callable[[Tensor, Any], tuple[Tensor, Any]]
Seen = dict[str, Tensor]

STEPS, BATCH = 7, 3


def random_inputs(cell: Cell[Any], steps: int = STEPS, batch: int = BATCH) -> Tensor:
    """Normal inputs, 40 % of them zero, so that a clamped net has free units."""
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(steps, batch, cell.input_size, generator=generator, dtype=torch.float64)
    return inputs * (torch.rand(inputs.shape, generator=generator) > 0.4)


def random_state(cell: Cell[Any], batch: int = BATCH) -> Any:
    """A state in the middle of an episode: no leaf is zero."""
    generator = torch.Generator().manual_seed(6)
    return map_leaves(
        lambda leaf: 0.3 * torch.randn(leaf.shape, generator=generator, dtype=torch.float64),
        cell.initial_state(batch),
    )


def random_starts(steps: int = STEPS, batch: int = BATCH) -> Tensor:
    return torch.rand(steps, batch, generator=torch.Generator().manual_seed(7)) < 0.3


def upstream(like: Tensor, axis: int, rows: Sequence[int]) -> Tensor:
    """A random gradient for each row of the batch, the same in any selection of rows."""
    shape = [BATCH if i == axis else size for i, size in enumerate(like.shape)]
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    return drawn.index_select(axis, torch.tensor(rows))


def observe(
    cell: Cell[Any], run: Run, inputs: Tensor, state: Any, rows: Sequence[int] | None = None
) -> Seen:
    """All results of a run of the given rows, by default all rows."""
    rows = range(inputs.shape[1]) if rows is None else rows
    inputs = inputs.clone().requires_grad_()
    before = [leaf.clone().requires_grad_() for leaf in leaves(state)]
    outputs, final = run(inputs, unflatten(state, before))
    found = {"outputs": outputs}
    found |= {f"final {i}": leaf for i, leaf in enumerate(leaves(final))}
    weighted = [
        (x * upstream(x, 1 if name == "outputs" else 0, rows)).sum() for name, x in found.items()
    ]
    loss = torch.stack(weighted).sum()
    sources = dict(cell.named_parameters()) | {"inputs": inputs}
    sources |= {f"state {i}": leaf for i, leaf in enumerate(before)}
    gradients = torch.autograd.grad(
        loss, list(sources.values()), allow_unused=True, materialize_grads=True
    )
    return found | {f"gradient of {name}": g for name, g in zip(sources, gradients, strict=True)}


def same(found: Seen, expected: Seen) -> None:
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        close(found[name], x, name)


def close(found: Tensor, expected: Tensor, name: str) -> None:
    torch.testing.assert_close(
        found, expected, rtol=1e-10, atol=1e-10, msg=lambda message: f"{name}: {message}"
    )


def whole(cell: Cell[Any], starts: Tensor | None, backend: str) -> Run:
    return lambda inputs, state: sequence(cell, inputs, state, starts, backend)


def in_chunks(cell: Cell[Any], starts: Tensor, size: int, backend: str) -> Run:
    def run(inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        outputs = []
        for piece, begun in zip(inputs.split(size), starts.split(size), strict=True):
            output, state = sequence(cell, piece, state, begun, backend)
            outputs.append(output)
        return torch.cat(outputs), state

    return run


def by_episode(cell: Cell[Any], starts: Tensor) -> Run:
    """Run every episode of every row by itself, which defines ``episode_starts``."""

    def run(inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        rows = [
            row_by_episode(cell, inputs[:, [b]], map_leaves(lambda x, b=b: x[[b]], state), column)
            for b, column in enumerate(starts.T)
        ]
        final = map_leaves(lambda *parts: torch.cat(parts), *(final for _, final in rows))
        return torch.cat([outputs for outputs, _ in rows], dim=1), final

    return run


def row_by_episode(
    cell: Cell[Any], inputs: Tensor, state: Any, starts: Tensor
) -> tuple[Tensor, Any]:
    cuts = sorted({0, *starts.nonzero()[:, 0].tolist()})
    outputs = []
    for begin, end in zip(cuts, [*cuts[1:], len(inputs)], strict=True):
        state = cell.initial_state(1) if starts[begin] else state
        output, state = sequence(cell, inputs[begin:end], state, backend="eager")
        outputs.append(output)
    return torch.cat(outputs), state


@st.composite
def starts_and_chunk_sizes(draw: st.DrawFn) -> tuple[Tensor, int]:
    """Random episode starts and chunk sizes."""
    steps, batch = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    row = st.lists(st.booleans(), min_size=batch, max_size=batch)
    starts = draw(st.lists(row, min_size=steps, max_size=steps))
    return torch.tensor(starts), draw(st.integers(1, steps))


def test_sequence_is_the_cell_applied_step_by_step(cell: Cell[Any], backend: str) -> None:
    """Otherwise the loop differs from the cell's own forward, which is the definition."""

    def steps(inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        outputs = []
        for given_input in inputs:
            output, state = cell(given_input, state)
            outputs.append(output)
        return torch.stack(outputs), state

    inputs, state = random_inputs(cell), random_state(cell)
    run = whole(cell, None, backend)
    same(observe(cell, run, inputs, state), observe(cell, steps, inputs, state))


def test_a_step_in_place_is_a_sequence_of_one(cell: Cell[Any], backend: str) -> None:
    """Otherwise an agent acts with another net than the one that learns."""
    inputs, state = random_inputs(cell, 4, 3), random_state(cell)
    starts = torch.tensor([[0, 0, 0], [1, 0, 1], [0, 1, 0], [1, 1, 1]])
    acting = map_leaves(lambda leaf: leaf.detach().clone(), state)
    advance = stepper(cell, acting, backend)
    with torch.no_grad():
        for given_input, starting in zip(inputs, starts, strict=True):
            expected, state = sequence(cell, given_input[None], state, starting[None], "eager")
            output = advance(given_input, starting)
            torch.testing.assert_close(output, expected[0])
            for ours, theirs in zip(leaves(acting), leaves(state), strict=True):
                torch.testing.assert_close(ours, theirs)
    output = advance(inputs[0])
    assert not output.requires_grad


def test_a_step_in_place_keeps_what_it_gave_before(cell: Cell[Any], backend: str) -> None:
    """Otherwise a step changes the outputs of the previous one."""
    inputs, state = random_inputs(cell, 2, 3), cell.initial_state(3)
    advance = stepper(cell, state, backend)
    first = advance(inputs[0])
    kept = first.clone()
    advance(inputs[1])
    assert torch.equal(first, kept)


@settings(max_examples=20)
@given(journey=starts_and_chunk_sizes())
def test_episodes_and_chunks_are_each_as_if_alone(
    cell: Cell[Any], backend: str, journey: tuple[Tensor, int]
) -> None:
    """Otherwise information passes an episode's start, or is lost between chunks."""
    starts, size = journey
    inputs = random_inputs(cell, *starts.shape)
    state = random_state(cell, starts.shape[1])
    alone = observe(cell, by_episode(cell, starts), inputs, state)
    same(observe(cell, whole(cell, starts, backend), inputs, state), alone)
    same(observe(cell, in_chunks(cell, starts, size, backend), inputs, state), alone)


def test_no_state_is_the_initial_state(cell: Cell[Any], backend: str) -> None:
    """Otherwise the first episode starts from another state than the others."""
    inputs = random_inputs(cell)
    outputs, final = sequence(cell, inputs, backend=backend)
    expected = sequence(cell, inputs, cell.initial_state(BATCH), backend=backend)
    begun = sequence(
        cell, inputs, random_state(cell), torch.eye(STEPS, 1).expand(-1, BATCH), backend
    )
    for other_outputs, other_final in (expected, begun):
        close(outputs, other_outputs, "outputs")
        for leaf, other in zip(leaves(final), leaves(other_final), strict=True):
            close(leaf, other, "final state")


def test_a_row_of_a_batch_is_a_batch_of_one(cell: Cell[Any], backend: str) -> None:
    """Otherwise evaluation of one episode differs from training on many (PAPERS 5.2, 5.10).

    The parameters' gradients are the rows' sum; all the rest is the row's own.
    """
    inputs, state, starts = random_inputs(cell), random_state(cell), random_starts()
    together = observe(cell, whole(cell, starts, backend), inputs, state)
    rows = [
        observe(
            cell,
            whole(cell, starts[:, [b]], backend),
            inputs[:, [b]],
            map_leaves(lambda leaf, b=b: leaf[[b]], state),
            rows=[b],
        )
        for b in range(BATCH)
    ]
    for name, expected in together.items():
        parts = torch.stack([row[name] for row in rows])
        if name in ("outputs", "gradient of inputs"):
            close(parts[:, :, 0].transpose(0, 1), expected, name)
        elif name.startswith(("final", "gradient of state")):
            close(parts[:, 0], expected, name)
        else:
            close(parts.sum(dim=0), expected, name)


def test_no_gradient_crosses_an_episodes_start(cell: Cell[Any], backend: str) -> None:
    """The gradient must be exactly zero; otherwise episodes affect the previous ones' gradient."""
    inputs = random_inputs(cell).requires_grad_()
    before = map_leaves(Tensor.requires_grad_, random_state(cell))
    starts = torch.zeros(STEPS, BATCH)
    starts[4, 1] = 1.0
    outputs, final = sequence(cell, inputs, before, starts, backend)
    loss = outputs[4:, 1].sum() + sum(leaf[1].sum() for leaf in leaves(final))
    found, *of_state = torch.autograd.grad(
        loss, [inputs, *leaves(before)], allow_unused=True, materialize_grads=True
    )
    assert found[4:, 1].any()
    assert not found[:4].any()
    assert not found[:, [0, 2]].any()
    assert not any(gradient.any() for gradient in of_state)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_an_overflown_state_does_not_outlive_its_episode(
    cell: Cell[Any], backend: str, value: float
) -> None:
    """Otherwise a diverged episode spoils all later ones, because inf x 0 is NaN."""
    inputs = random_inputs(cell).requires_grad_()
    spoiled = map_leaves(lambda leaf: torch.full_like(leaf, value), cell.initial_state(BATCH))
    spoiled = map_leaves(Tensor.requires_grad_, spoiled)
    starts = torch.zeros(STEPS, BATCH, dtype=torch.bool)
    starts[0] = True
    outputs, final = sequence(cell, inputs, spoiled, starts, backend)
    fresh, fresh_final = sequence(cell, inputs, None, None, backend)
    close(outputs, fresh, "outputs")
    for found, expected in zip(leaves(final), leaves(fresh_final), strict=True):
        close(found, expected, "final state")
    sources = [*leaves(spoiled), inputs, *cell.parameters()]
    gradients = torch.autograd.grad(
        outputs.sum(), sources, allow_unused=True, materialize_grads=True
    )
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert not any(gradient.any() for gradient in gradients[: len(leaves(spoiled))])


def test_a_spoiled_row_spoils_no_other_and_ends_with_its_episode(
    cell: Cell[Any], backend: str
) -> None:
    """Otherwise the reset multiplies with a mask, or mixes rows."""
    inputs, state = random_inputs(cell), random_state(cell)
    starts = torch.zeros(STEPS, BATCH)
    starts[4, 1] = 1.0
    expected, _ = sequence(cell, inputs, state, starts, backend)
    spoiled = inputs.clone()
    spoiled[2:4, 1] = float("nan")
    outputs, final = sequence(cell, spoiled, state, starts, backend)
    assert torch.equal(outputs[4:], expected[4:])
    assert torch.equal(outputs[:, [0, 2]], expected[:, [0, 2]])
    assert all(leaf.isfinite().all() for leaf in leaves(final))


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.float64, torch.uint8])
def test_episode_starts_of_any_type(cell: Cell[Any], backend: str, dtype: torch.dtype) -> None:
    """SB3 gives floats; otherwise they are rejected or used as factors."""
    inputs, state, starts = random_inputs(cell), random_state(cell), random_starts()
    expected, _ = sequence(cell, inputs, state, starts, backend)
    assert starts.any()
    assert torch.equal(sequence(cell, inputs, state, starts.to(dtype), backend)[0], expected)


def test_what_is_given_stays_as_it_was(cell: Cell[Any], backend: str) -> None:
    """Otherwise the caller's stored state changes."""
    inputs, state, starts = random_inputs(cell), random_state(cell), random_starts()
    given_tensors = [inputs, starts, *leaves(state), *cell.state_dict().values()]
    copies = [tensor.clone() for tensor in given_tensors]
    sequence(cell, inputs, state, starts, backend)
    assert all(torch.equal(now, then) for now, then in zip(given_tensors, copies, strict=True))


def test_auto_is_one_of_the_backends(cell: Cell[Any]) -> None:
    """Otherwise the default gives other results than the specification."""
    inputs, state, starts = random_inputs(cell), random_state(cell), random_starts()
    auto = observe(cell, whole(cell, starts, "auto"), inputs, state)
    same(auto, observe(cell, whole(cell, starts, "eager"), inputs, state))


def test_an_unknown_backend_is_refused_with_a_list_of_backends() -> None:
    with pytest.raises(ValueError, match=r"'quick'; there are auto, eager") as caught:
        sequence(build_cell("rnn", 2), torch.zeros(1, 1, 2), backend="quick")
    assert all(name in str(caught.value) for name in BACKENDS)


@pytest.mark.parametrize("shape", [(2,), (3, 2), (0, 3, 2), (4, 3, 1), (4, 3, 3), (1, 4, 3, 2)])
def test_inputs_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    """(3, 2) is a step, not a sequence, and (0, 3, 2) has no step."""
    with pytest.raises(ValueError, match=r"inputs must have shape \(steps, batch, 2\)") as caught:
        sequence(build_cell("rnn", 2), torch.zeros(shape))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_a_state_of_another_batch_is_refused(cell: Cell[Any], batch: int) -> None:
    """Otherwise a state of one row is broadcast, and all rows share its trace."""
    state = cell.initial_state(batch)
    if leaves(state):
        with pytest.raises(ValueError, match=rf"must have shape \(3, .*\), not \({batch}, "):
            sequence(cell, random_inputs(cell), state)


@pytest.mark.parametrize("shape", [(3,), (7,), (3, 7), (7, 1), (1, 3), (7, 3, 1)])
def test_episode_starts_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    """Otherwise (7, 1) and (1, 3) are broadcast."""
    with pytest.raises(ValueError, match=r"episode_starts must have shape \(7, 3\)") as caught:
        sequence(build_cell("rnn", 2), torch.zeros(7, 3, 2), episode_starts=torch.zeros(shape))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("modulation", ["none", "simple", "retroactive"])
def test_a_state_of_another_kind_of_modulation_is_refused(modulation: str, backend: str) -> None:
    """Otherwise a retroactive net without an eligibility trace runs as a simple one."""
    cell = build_cell("plastic_rnn", 2, hidden_size=3, modulation=modulation)
    other = "simple" if modulation == "retroactive" else "retroactive"
    state = build_cell("plastic_rnn", 2, hidden_size=3, modulation=other).initial_state(1)
    with pytest.raises(ValueError, match=r"state\.eligibility"):
        sequence(cell, torch.zeros(1, 1, 2), state, backend=backend)


def test_a_state_of_another_cell_is_refused(backend: str) -> None:
    """Otherwise the error comes from torch and does not mention the state."""
    state = build_cell("gru", 2, hidden_size=3).initial_state(1)
    with pytest.raises(ValueError, match="must be a LSTMState, not a GRUState"):
        sequence(build_cell("lstm", 2, hidden_size=3), torch.zeros(1, 1, 2), state, backend=backend)


@pytest.mark.parametrize("shape", [(2,), (3, 1), (3, 3), (1, 3, 2)])
def test_a_step_refuses_inputs_of_another_shape(shape: tuple[int, ...], backend: str) -> None:
    """(1, 3, 2) is a sequence, not a step."""
    cell = build_cell("plastic_rnn", 2, hidden_size=3)
    advance = stepper(cell, cell.initial_state(3), backend)
    with pytest.raises(ValueError, match=r"inputs must have shape \(3, 2\)"):
        advance(torch.zeros(shape))


def test_a_step_refuses_what_does_not_fit(backend: str) -> None:
    """Otherwise one row's state or start is broadcast to all rows."""
    cell, inputs = build_cell("plastic_rnn", 2, hidden_size=3), torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r"inputs must have shape \(1, 2\)"):
        stepper(cell, cell.initial_state(1), backend)(inputs)
    with pytest.raises(ValueError, match=r"episode_starts must have shape \(3,\)"):
        stepper(cell, cell.initial_state(3), backend)(inputs, torch.zeros(1))
    other = build_cell("gru", 2, hidden_size=3).initial_state(3)
    with pytest.raises(ValueError, match="must be a PlasticRNNState, not a GRUState"):
        stepper(cell, other, backend)
