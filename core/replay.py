"""A record of a cell's steps, from which they can be run again with the same results."""

from typing import Any, Generic

import numpy as np
import torch
from torch import Tensor

from plasticrl.core.cells.cell import Cell
from plasticrl.core.state import State, leaves, map_leaves
from plasticrl.core.stock import options_of


class ReplayError(RuntimeError):
    """Recorded steps cannot be replayed, for example because the cell has changed since."""


class StepRecord(Generic[State]):
    """Copies of everything that determines the results of the first ``n_steps`` steps.

    Args:
        state: the state before the first step. The steps change it in place.
        n_steps: the number of steps to record, T, at least 1.

    Attributes:
        initial_state: a copy of the state before the first step.
        inputs: (T, B, I), filled step by step.
        episode_starts: (T, B), filled step by step.
    """

    inputs: Tensor
    episode_starts: Tensor

    def __init__(self, cell: Cell[State], state: State, n_steps: int) -> None:
        self._cell, self._state, self._n_steps = cell, state, n_steps
        self.initial_state = map_leaves(lambda leaf: leaf.detach().clone(), state)
        self._weights = [weight.detach().clone() for weight in _weights(cell)]
        self._options = [options_of(module) for module in cell.modules()]
        self._leaves = [leaf for leaf in leaves(state) if not leaf.is_inference()]
        self._versions = [self._count_changes()]
        """Counts of changes at creation, before and after the first call, and after the last."""
        self._n_taken = 0
        self._n_calls = n_steps
        """The number of calls that take the steps: one for each step, or one for a closed loop."""

    def before_step(self, inputs: Tensor, episode_starts: Tensor | None) -> None:
        """Record the inputs (B, I) and episode starts (B,) of the next step."""
        step = self._n_taken
        if step == self._n_steps:
            return
        if step == 0:
            self._allocate(inputs)
            self._versions.append(self._count_changes())
        _write(self._input_rows, step, inputs)
        if episode_starts is not None:
            _write(self._start_rows, step, episode_starts)

    def after_step(self) -> None:
        """Count the step that was taken."""
        if self._n_taken < self._n_steps:
            self._n_taken += 1
            if self._n_taken in (1, self._n_steps):
                self._versions.append(self._count_changes())

    def before_loop(self, n_steps: int) -> None:
        """Prepare to record a closed loop, which takes all steps in one call.

        Raises:
            ValueError: if the record is for another number of steps, or already has steps.
        """
        if self._n_taken or n_steps != self._n_steps:
            raise ValueError(
                f"a closed loop must take all {self._n_steps} steps that the stepper records; this "
                f"one has {n_steps} steps, and {self._n_taken} were recorded before it"
            )
        self._n_calls = 1
        self._versions.append(self._count_changes())

    def after_loop(self, inputs: np.ndarray, episode_starts: np.ndarray) -> None:
        """Record the inputs (T, B, I) and the episode starts (T, B) of all steps."""
        self.inputs = torch.from_numpy(inputs.copy())
        self.episode_starts = torch.from_numpy(episode_starts.copy())
        self._n_taken = self._n_steps
        self._versions.append(self._count_changes())

    def why_not_replayable(self) -> str | None:
        """Return the reason why the steps cannot be replayed; None if they can be."""
        if self._n_taken < self._n_steps:
            return f"{self._n_taken} of {self._n_steps} steps were taken"
        if self._state_was_changed():
            return "the state was changed other than by the steps"
        if self.inputs.is_inference() or len(self._leaves) < len(leaves(self._state)):
            return "torch does not count changes of tensors that were created in inference mode"
        if self._options != [options_of(module) for module in self._cell.modules()]:
            return "the cell's options have changed since"
        if not all(map(_are_equal, self._weights, _weights(self._cell))):
            return "the cell's weights have changed since"
        return None

    def _allocate(self, inputs: Tensor) -> None:
        self.inputs = inputs.new_empty((self._n_steps, *inputs.shape))
        self.episode_starts = self.inputs.new_zeros(self.inputs.shape[:2], dtype=torch.bool)
        # On the CPU, NumPy writes a row in a third of the time that torch takes (measured).
        self._input_rows, self._start_rows = (
            rows.numpy() if rows.is_cpu else rows for rows in (self.inputs, self.episode_starts)
        )

    def _state_was_changed(self) -> bool:
        """Return whether something other than the steps changed the state.

        If only the steps changed it, each call added as much to the counts as the first call.
        """
        at_creation, before, first, last = *self._versions[:3], self._versions[-1]
        expected = [b + self._n_calls * (f - b) for b, f in zip(before, first, strict=True)]
        return at_creation != before or last != expected

    def _count_changes(self) -> list[int]:
        """Return torch's count of in-place changes for each tensor of the state."""
        return [leaf._version for leaf in self._leaves]


def _write(rows: Any, step: int, values: Tensor) -> None:
    values = values.detach() if values.requires_grad else values
    rows[step] = values if isinstance(rows, Tensor) else values.numpy()


def _weights(cell: Cell[Any]) -> list[Tensor]:
    return [*cell.parameters(), *cell.buffers()]


def _are_equal(left: Tensor, right: Tensor) -> bool:
    comparable = left.dtype == right.dtype and left.device == right.device
    return comparable and torch.equal(left, right)
