"""What a stepper remembers of its steps, so that their sequence need not be run again to learn.

A rollout is the forward pass of the sequence that its loss is of, as long as nothing has changed
since: what the backward pass needs of it can be kept on the way. Whether a sequence is the one that
was stepped through is told by comparing everything that it depends on.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from plasticrl.core.backends.kernels import PAD, TOGETHER
from plasticrl.core.backends.net import Ran
from plasticrl.core.cells.plastic_rnn import PlasticRNN, PlasticRNNState
from plasticrl.core.state import leaves, map_leaves

Slots = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Where the loops write in a step: the modulation M, (B,), and the traces and eligibility traces
before it, (B, N, N) padded, or (0, 0, 0) where they are not kept."""


class Record(NamedTuple):
    """T steps."""

    inputs: np.ndarray
    """(T, B, I)"""
    starts: np.ndarray
    """(T, B), true where an episode starts."""
    outputs: np.ndarray
    """(T, B, N)"""
    signal: np.ndarray
    """The modulation M, (T, B)."""
    kept: np.ndarray
    """The traces before the steps 0, G, 2 G ..., (K, B, N, N) padded."""
    kept_eligibility: np.ndarray
    """The same of the eligibility traces; K = 0 where there are none."""

    @classmethod
    def empty(cls, cell: PlasticRNN, state: PlasticRNNState, n_steps: int, every: int) -> "Record":
        """Room for so many steps, with zeros in the padding."""
        hidden = state.hidden.detach().numpy()
        (n_rows, n), dtype = hidden.shape, hidden.dtype
        padded = (n_rows, n + -n % TOGETHER, n + -n % PAD)
        kept = np.empty((-(-n_steps // every), *padded), dtype)
        kept[..., n:, :] = kept[..., n:] = 0
        return cls(
            np.empty((n_steps, n_rows, cell.input_size), dtype),
            np.empty((n_steps, n_rows), bool),
            np.empty((n_steps, n_rows, n), dtype),
            np.empty((n_steps, n_rows), dtype),
            kept,
            (kept if state.eligibility is not None else kept[:0]).copy(),
        )


class Memory:
    """The first T steps from a state on.

    Args:
        cell: the one that steps.
        state: the one that it changes, before the first step.
        n_steps: how many steps to remember, T.
        every: steps G from one kept trace to the next.
    """

    def __init__(self, cell: PlasticRNN, state: PlasticRNNState, n_steps: int, every: int) -> None:
        self.cell, self.options = cell, _options(cell)
        self.weights = [parameter.detach().clone() for parameter in cell.parameters()]
        self.state, self.start, self.versions = state, _copy(state), _versions(state)
        self.end: PlasticRNNState | None = None
        self.n_steps, self.every, self.taken = n_steps, every, 0
        self.record: Record | None = Record.empty(cell, self.start, n_steps, every)
        self.nowhere = np.empty((0, 0, 0), self.record.signal.dtype)

    def slots(self) -> Slots | None:
        """For the next step; None if it is not to be remembered."""
        record, t, nowhere = self.record, self.taken, self.nowhere
        if record is None or t == self.n_steps:
            return None
        if t % self.every:
            return record.signal[t], nowhere, nowhere
        k, retroactive = t // self.every, len(record.kept_eligibility) > 0
        kept_eligibility = record.kept_eligibility[k] if retroactive else nowhere
        return record.signal[t], record.kept[k], kept_eligibility

    def add(self, inputs: np.ndarray, starts: np.ndarray, outputs: np.ndarray) -> None:
        """The step that ``slots`` was for: inputs (B, I), episode starts (B,), outputs (B, N)."""
        assert self.record is not None
        t, self.taken = self.taken, self.taken + 1
        self.record.inputs[t], self.record.starts[t] = inputs, starts
        self.record.outputs[t] = outputs
        if self.taken == self.n_steps:
            alone = _versions(self.state) == [before + self.n_steps for before in self.versions]
            self.end = _copy(self.state) if alone else None

    def ran(
        self, cell: PlasticRNN, inputs: Tensor, state: PlasticRNNState, starts: Tensor
    ) -> Ran | None:
        """The run of inputs (T, B, I) with episode starts (T, B) from a state.

        None if it is not what was stepped. Whoever asks is the only one: all is forgotten then,
        since what is given may be written into.
        """
        record, end, self.record, self.end = self.record, self.end, None, None
        if record is None or end is None or cell is not self.cell or _options(cell) != self.options:
            return None
        given = (inputs, starts, *leaves(state), *cell.parameters())
        inputs_and_starts = map(torch.from_numpy, (record.inputs, record.starts))
        known = (*inputs_and_starts, *leaves(self.start), *self.weights)
        if not all(_same(ours, theirs) for ours, theirs in zip(given, known, strict=True)):
            return None
        outputs, signal = torch.from_numpy(record.outputs), torch.from_numpy(record.signal)
        return Ran(outputs, *end[1:], signal, (record.kept, record.kept_eligibility), self.every)


def _options(cell: PlasticRNN) -> tuple[object, ...]:
    """All that decides what a cell computes, but for its weights."""
    assert cell.connection is not None
    return cell.connection.plasticity, cell.input_mode


def _same(ours: Tensor, theirs: Tensor) -> bool:
    alike = ours.dtype == theirs.dtype and ours.device == theirs.device
    return alike and torch.equal(ours, theirs)


def _versions(state: PlasticRNNState) -> list[int]:
    """How many times each tensor was changed in place."""
    return [leaf._version for leaf in leaves(state)]


def _copy(state: PlasticRNNState) -> PlasticRNNState:
    return map_leaves(lambda leaf: leaf.detach().clone(), state)
