"""Run a cell over time.

``sequence`` runs whole sequences and is differentiable, for training. ``stepper`` runs one step at
a time without gradient, for acting; it can replay its steps with gradient afterward.
"""

from typing import Generic

import torch
from torch import Tensor

from plasticrl.core.backends import choose
from plasticrl.core.cells.cell import Cell
from plasticrl.core.replay import ReplayError, StepRecord
from plasticrl.core.state import State, check_state, leaves


class Stepper(Generic[State]):
    """The object that ``stepper`` returns; the arguments are described there."""

    def __init__(self, cell: Cell[State], state: State, backend: str, n_steps: int) -> None:
        if n_steps < 0:
            raise ValueError(f"n_steps must be at least 0, not {n_steps}")
        n_rows = next((len(leaf) for leaf in leaves(state)), None)  # None: a cell without a state
        check_state(state, cell.initial_state(0), n_rows or 0)
        weight = next(cell.parameters(), None)
        example = torch.empty(1) if weight is None else weight.new_empty(1)
        self._step = choose(backend, cell, example).stepper(cell, state, n_steps)
        self._record = StepRecord(cell, state, n_steps) if n_steps else None
        self._cell, self._backend = cell, backend
        self._n_rows, self._size = n_rows, cell.input_size
        self._dtype = None if weight is None else weight.dtype

    def __call__(self, inputs: Tensor, episode_starts: Tensor | None = None) -> Tensor:
        """Take a step and return outputs (B, N), from inputs (B, I) and episode starts (B,).

        Raises:
            ValueError: for a shape or dtype that does not fit.
        """
        expected = (len(inputs) if self._n_rows is None else self._n_rows, self._size)
        if inputs.shape != expected:
            raise ValueError(f"inputs must be {expected}, not {tuple(inputs.shape)}")
        if self._dtype is not None and inputs.dtype != self._dtype:
            raise ValueError(f"inputs must be {self._dtype} as the weights, not {inputs.dtype}")
        starts, record = _as_booleans(episode_starts, inputs), self._record
        if record is None:
            return self._step(inputs, starts)
        record.before_step(inputs, starts)
        outputs = self._step(inputs, starts)
        record.after_step()
        return outputs

    def replay(self) -> tuple[Tensor, State]:
        """Return the results of the first ``n_steps`` steps as ``sequence`` would.

        If the backend has stored the intermediate results that the backward pass needs, nothing is
        computed again. They can be used once, so a second call runs the sequence.

        Returns:
            Outputs (T, B, N) and the state after these steps, differentiable with respect to the
            cell's parameters but not to the inputs.

        Raises:
            ReplayError: if too few steps were taken, if the cell's weights or options have
                changed since, or if anything but the steps has changed the state.
        """
        record = self._record
        if record is None:
            raise ReplayError("the steps cannot be replayed: the stepper was made with n_steps=0")
        if (obstacle := record.obstacle()) is not None:
            raise ReplayError(f"the steps cannot be replayed: {obstacle}")
        inputs, starts, start = record.inputs, record.episode_starts, record.start
        replayed = self._step.replay(inputs, starts, start)
        return replayed or sequence(self._cell, inputs, start, starts, self._backend)


def sequence(
    cell: Cell[State],
    inputs: Tensor,
    state: State | None = None,
    episode_starts: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, State]:
    """Run a cell over time.

    Splitting a sequence into chunks and passing the state on gives the same result.

    Args:
        inputs: (T, B, I), at least one step.
        state: the cell's state before the first step; None is the initial state.
        episode_starts: (T, B), true at [t, b] if an episode of row b starts with step t. Before
            that step, the row's state is reset; no value and no gradient passes the reset.
        backend: "eager" is the readable specification. "fused" gives the same results, faster and
            with less memory. "auto" is fused if that supports the cell, device and dtype, else
            eager. Higher derivatives and ``torch.func`` need eager.

    Returns:
        Outputs (T, B, N) and the state after the last step.

    Raises:
        ValueError: for a shape that does not fit, or an unknown backend.
    """
    if torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting():
        outside: tuple[Tensor, State] = torch.compiler.disable(sequence)(  # type: ignore[no-untyped-call]
            cell, inputs, state, episode_starts, backend
        )
        return outside  # torch.compile breaks its graph here
    chosen = choose(backend, cell, inputs)
    if inputs.dim() != 3 or inputs.shape[2] != cell.input_size or inputs.shape[0] == 0:
        raise ValueError(
            f"inputs must be (steps, batch, {cell.input_size}) with at least one step, "
            f"not {tuple(inputs.shape)}"
        )
    if state is None:
        state = cell.initial_state(inputs.shape[1])
    else:
        check_state(state, cell.initial_state(0), inputs.shape[1])
    return chosen.run(cell, inputs, state, _as_booleans(episode_starts, inputs))


def stepper(
    cell: Cell[State], state: State, backend: str = "auto", n_steps: int = 0
) -> Stepper[State]:
    """Make an object that takes one step per call and updates ``state`` in place.

    A call takes inputs (B, I) and optionally episode starts (B,), and returns outputs (B, N)
    without gradient. Make a new stepper after the weights have changed.

    Args:
        state: the cell's state before the first step. Each call updates it in place.
        backend: as in ``sequence``.
        n_steps: the number of steps to record for ``Stepper.replay``; 0 for none. The record takes
            as much memory as a ``sequence`` of that length. ``replay`` raises an error if the state
            was changed between two steps, but it cannot detect changes through
            ``state.trace.data`` or a NumPy array, which torch does not count.

    Raises:
        ValueError: for a shape that does not fit, an unknown backend, or a negative ``n_steps``.
    """
    return Stepper(cell, state, backend, n_steps)


def _as_booleans(episode_starts: Tensor | None, inputs: Tensor) -> Tensor | None:
    """Check the shape of episode starts and convert them to booleans."""
    if episode_starts is None:
        return None
    if episode_starts.shape != inputs.shape[:-1]:
        raise ValueError(
            f"episode_starts must be {tuple(inputs.shape[:-1])} like the inputs, "
            f"not {tuple(episode_starts.shape)}"
        )
    return episode_starts if episode_starts.dtype is torch.bool else episode_starts.bool()
