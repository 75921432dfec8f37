"""What a stepper remembers of its steps, so that their sequence need not be run again to learn.

A rollout is the forward pass of the sequence that its loss is of, as long as nothing has changed
since: what the backward pass needs of it can be kept on the way. Whether a sequence is the one that
was stepped through is told by its numbers, to the bit: weights, state, inputs, episode starts.
"""

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


class Memory:
    """The first T steps from a state on.

    Args:
        cell: the one that steps.
        state: the one that it changes, before the first step.
        n_steps: how many steps to remember, T.
        every: steps G from one kept trace to the next.
    """

    def __init__(self, cell: PlasticRNN, state: PlasticRNNState, n_steps: int, every: int) -> None:
        self.cell, self.state, self.every = cell, state, every
        self.weights = [parameter.detach().clone() for parameter in cell.parameters()]
        self.start, self.versions = _copy(state), _versions(state)
        self.end: PlasticRNNState | None = None
        hidden = self.start.hidden.numpy()
        (n_rows, n), dtype = hidden.shape, hidden.dtype
        self.inputs = np.empty((n_steps, n_rows, cell.input_size), dtype)
        self.starts = np.empty((n_steps, n_rows), bool)
        self.outputs = np.empty((n_steps, n_rows, n), dtype)
        self.signal = np.empty((n_steps, n_rows), dtype)
        padded = (n_rows, n + -n % TOGETHER, n + -n % PAD)
        self.kept = np.empty((-(-n_steps // every), *padded), dtype)
        self.kept[..., n:, :] = self.kept[..., n:] = 0
        self.kept_e = (self.kept if state.eligibility is not None else self.kept[:0]).copy()
        self.nowhere = np.empty((0, 0, 0), dtype)
        self.taken = 0

    @property
    def full(self) -> bool:
        """Whether all T steps were taken; what is stepped now is not remembered."""
        return self.taken == len(self.inputs)

    def slots(self) -> Slots:
        """For the next step."""
        signal, kept, kept_e = self.signal[self.taken], self.nowhere, self.nowhere
        if self.taken % self.every == 0:
            kept = self.kept[self.taken // self.every]
            kept_e = self.kept_e[self.taken // self.every] if len(self.kept_e) else kept_e
        return signal, kept, kept_e

    def add(self, inputs: np.ndarray, starts: np.ndarray, outputs: np.ndarray) -> None:
        """The step that was taken: inputs (B, I), episode starts (B,), outputs (B, N)."""
        t = self.taken
        self.inputs[t], self.starts[t], self.outputs[t] = inputs, starts, outputs
        self.taken += 1
        # Only the loops may have changed the state; they do so behind torch's back.
        if self.full and _versions(self.state) == self.versions:
            self.end = _copy(self.state)

    def ran(
        self, cell: PlasticRNN, inputs: Tensor, state: PlasticRNNState, starts: Tensor
    ) -> Ran | None:
        """The run of inputs (T, B, I) with episode starts (T, B) from a state, once.

        None if the steps were others.
        """
        given = (inputs, starts, *leaves(state), *cell.parameters())
        known = (torch.from_numpy(self.inputs), torch.from_numpy(self.starts), *leaves(self.start))
        end, weights = self.end, self.weights
        if end is None or cell is not self.cell or not all(map(_same, given, (*known, *weights))):
            return None
        self.end = None  # who is given all this may write into it
        outputs, signal = torch.from_numpy(self.outputs), torch.from_numpy(self.signal)
        return Ran(outputs, *end[1:], signal, (self.kept, self.kept_e), self.every)


def _same(ours: Tensor, theirs: Tensor) -> bool:
    alike = ours.dtype == theirs.dtype and ours.device == theirs.device
    return alike and torch.equal(ours, theirs)


def _versions(state: PlasticRNNState) -> list[int]:
    """How many times torch has changed each tensor in place."""
    return [leaf._version for leaf in leaves(state)]


def _copy(state: PlasticRNNState) -> PlasticRNNState:
    return map_leaves(lambda leaf: leaf.detach().clone(), state)
