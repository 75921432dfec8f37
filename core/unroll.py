"""Run a cell over time.

``sequence`` runs a whole sequence with gradient, for training. ``stepper`` runs one step at a time
without gradient, for acting; its steps can be replayed with gradient afterward.
"""

from collections.abc import Callable
from typing import Any, Generic

import torch
from torch import Tensor

from plasticrl.core.backends import choose
from plasticrl.core.backends.cpu import CompiledLoop
from plasticrl.core.backends.fused import FusedStepper
from plasticrl.core.cells.cell import Cell
from plasticrl.core.replay import ReplayError, StepRecord
from plasticrl.core.state import State, check_state, leaves


class Stepper(Generic[State]):
    """Runs a cell, one step per call. ``stepper`` makes this object and documents the arguments."""

    def __init__(self, cell: Cell[State], state: State, backend: str, n_steps: int) -> None:
        if n_steps < 0:
            raise ValueError(f"n_steps must be at least 0, not {n_steps}")
        n_rows = next((len(leaf) for leaf in leaves(state)), None)  # None: the state has no tensors
        check_state(state, cell.initial_state(0), n_rows or 0)
        weight = next(cell.parameters(), None)
        example = torch.empty(1) if weight is None else weight.new_empty(1)
        self._step = choose(backend, cell, example).stepper(cell, state, n_steps)
        self._record = StepRecord(cell, state, n_steps) if n_steps else None
        self._cell, self._backend = cell, backend
        self._n_rows, self._input_size = n_rows, cell.input_size
        self._dtype = None if weight is None else weight.dtype

    def __call__(self, inputs: Tensor, episode_starts: Tensor | None = None) -> Tensor:
        """Take a step: return outputs (B, N), from inputs (B, I) and episode starts (B,).

        Raises:
            ValueError: if a shape, or the dtype of the inputs, does not fit the cell and the state.
        """
        expected = (len(inputs) if self._n_rows is None else self._n_rows, self._input_size)
        if inputs.shape != expected:
            raise ValueError(f"inputs must have shape {expected}, not {tuple(inputs.shape)}")
        if self._dtype is not None and inputs.dtype != self._dtype:
            raise ValueError(f"inputs must have dtype {self._dtype}, not {inputs.dtype}")
        starts, record = _as_booleans(episode_starts, inputs), self._record
        if record is None:
            return self._step(inputs, starts)
        record.before_step(inputs, starts)
        outputs = self._step(inputs, starts)
        record.after_step()
        return outputs

    def run_closed_loop(
        self, compiled_loop: CompiledLoop, make_source: Callable[..., Any], n_steps: int
    ) -> tuple[Tensor, Tensor | None]:
        """Take T steps in one compiled call, in which inputs depend on the previous outputs.

        Args:
            compiled_loop: a function that returns the compiled loop for a kind of net, such as
                ``plasticrl.agents.closed_loop.compiled_loop``.
            make_source: a function that returns a NamedTuple of the arrays that the loop of a net
                reads and writes. Two of its fields are ``inputs`` (T + 1, B, I) and ``starts``
                (T + 1, B): the caller fills in those of the first step, and the loop the others.
                The nets of a ``Population`` share both arrays. The function is called with the
                net's index and with the weights that project its inputs.
            n_steps: T.

        Returns:
            Outputs (T, B, N), and the activity (T, B, N) that the cell's neuromodulator read, or
            None without a neuromodulator.

        Raises:
            ValueError: if the cell and its backend do not support this (see
                ``plasticrl.core.backends.can_close_loop``); if the stepper records another number
                of steps, or has already recorded some; or if ``inputs`` or ``starts`` has the wrong
                shape or dtype.
        """
        step: Any = self._step
        record = self._record
        if not (isinstance(step, FusedStepper) and step.can_run_closed_loop):
            raise ValueError("only the fused backend on the CPU runs closed loops")
        if record is not None:
            record.before_loop(n_steps)
        shape = (n_steps + 1, self._n_rows, self._input_size)

        def make_checked_source(index: int, projection: Any) -> Any:
            source = make_source(index, projection)
            dtype = str(self._dtype).removeprefix("torch.")
            if source.inputs.shape != shape or source.inputs.dtype != dtype:
                raise ValueError(f"the source's inputs must be {dtype} of shape {shape}")
            if source.starts.shape != shape[:2] or source.starts.dtype != bool:
                raise ValueError(f"the source's starts must be bool of shape {shape[:2]}")
            return source

        outputs, activity, source = step.run_closed_loop(
            compiled_loop, make_checked_source, n_steps
        )
        if record is not None:
            record.after_loop(source.inputs[:-1], source.starts[:-1])
        return outputs, activity

    def replay(self) -> tuple[Tensor, State]:
        """Return the results of the first ``n_steps`` steps with gradient, as ``sequence`` would.

        During the steps, some backends store the intermediate results that the backward pass needs.
        The first call of ``replay`` uses and releases these, so that it need not compute the steps
        again. Without them, a call runs ``sequence`` on the recorded inputs.

        Returns:
            Outputs (T, B, N) and the state after the last of these steps. They have gradients with
            respect to the cell's parameters, but not with respect to the inputs.

        Raises:
            ReplayError: if fewer than ``n_steps`` steps were taken, if the cell's weights or
                options have changed since the stepper was made, or if the state was changed by
                anything but the steps.
        """
        record = self._record
        if record is None:
            raise ReplayError("the steps cannot be replayed: the stepper was made with n_steps=0")
        if (reason := record.why_not_replayable()) is not None:
            raise ReplayError(f"the steps cannot be replayed: {reason}")
        inputs, episode_starts, state = record.inputs, record.episode_starts, record.initial_state
        replayed = self._step.replay(inputs, episode_starts, state)
        return replayed or sequence(self._cell, inputs, state, episode_starts, self._backend)


def sequence(
    cell: Cell[State],
    inputs: Tensor,
    state: State | None = None,
    episode_starts: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, State]:
    """Run a cell over time.

    A sequence can be run in chunks, each from the final state of the previous one, with the same
    results.

    Args:
        inputs: (T, B, I), at least one step.
        state: the cell's state before the first step; None is the initial state.
        episode_starts: (T, B), true at [t, b] if an episode of row b starts with step t. Before
            that step, the row's state is reset; no value and no gradient passes the reset.
        backend: "eager" is the reference implementation, plain torch operations step by step.
            "fused" gives the same results up to rounding, faster or in less memory, for the cells,
            devices and dtypes that it supports. "auto" is "fused" where that is supported, else
            "eager"; it is also "eager" under autocast, in forward-mode differentiation, and inside
            ``torch.jit.trace``, ``torch.export`` and ``torch.func``. Derivatives of second or
            higher order need "eager".

    Returns:
        Outputs (T, B, N) and the state after the last step.

    Raises:
        ValueError: for a shape that does not fit, a state of another type or dtype, an unknown
            backend, or "fused" where it is not supported.
    """
    if torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting():
        # torch.compile runs this call outside of its graph.
        results: tuple[Tensor, State] = torch.compiler.disable(sequence)(  # type: ignore[no-untyped-call]
            cell, inputs, state, episode_starts, backend
        )
        return results
    chosen = choose(backend, cell, inputs)
    if inputs.dim() != 3 or inputs.shape[2] != cell.input_size or inputs.shape[0] == 0:
        raise ValueError(
            f"inputs must have shape (steps, batch, {cell.input_size}) with at least one step, "
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
        n_steps: the number of steps to record for ``Stepper.replay``; 0 records none. The record
            takes as much memory as a ``sequence`` of that length. ``replay`` raises an error if the
            state was changed between two steps, but it cannot detect changes that torch does not
            count: those through ``state.trace.data`` or through a NumPy array that shares memory.

    Raises:
        ValueError: for a state that does not fit the cell, an unknown backend, "fused" where it is
            not supported, or a negative ``n_steps``.
    """
    return Stepper(cell, state, backend, n_steps)


def _as_booleans(episode_starts: Tensor | None, inputs: Tensor) -> Tensor | None:
    """Return episode starts as booleans; raise ``ValueError`` for a shape that does not fit."""
    if episode_starts is None:
        return None
    if episode_starts.shape != inputs.shape[:-1]:
        raise ValueError(
            f"episode_starts must have shape {tuple(inputs.shape[:-1])}, the first axes of the "
            f"inputs, not {tuple(episode_starts.shape)}"
        )
    return episode_starts if episode_starts.dtype is torch.bool else episode_starts.bool()
