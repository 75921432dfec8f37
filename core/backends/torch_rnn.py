"""Run rnn, gru and lstm with torch's own fused loops.

A sequence is split at the steps where an episode starts in any row. Each piece is one call.
"""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from plasticrl.core.backends.eager import EagerSteps
from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.gru import GRU, GRUState
from plasticrl.core.cells.lstm import LSTM, LSTMState
from plasticrl.core.cells.rnn import RNN, RNNState
from plasticrl.core.state import State, select
from plasticrl.core.stock import is_stock_cell

OPTIONS = (True, 1, 0.0, False, False, False)
"""The loops' arguments has_biases, num_layers, dropout, train, bidirectional, batch_first."""


def _parameters(cell: nn.LSTMCell | nn.GRUCell) -> list[Tensor]:
    """Return the parameters by name; ``parameters()`` would return a shared one only once."""
    return [cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh]


def _lstm(cell: LSTM, inputs: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
    carry = [leaf.unsqueeze(0) for leaf in state]
    outputs, hidden, memory = torch.lstm(inputs, carry, _parameters(cell.cell), *OPTIONS)
    return outputs, LSTMState(hidden[0], memory[0])


def _gru(cell: GRU, inputs: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
    carry = state.hidden.unsqueeze(0)
    outputs, hidden = torch.gru(inputs, carry, _parameters(cell.cell), *OPTIONS)
    return outputs, GRUState(hidden[0])


def _rnn(cell: RNN, inputs: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
    bias = cell.input.bias
    parameters = [cell.input.weight, cell.recurrent.weight, bias, torch.zeros_like(bias)]
    carry = state.hidden.unsqueeze(0)
    outputs, hidden = torch.rnn_tanh(inputs, carry, parameters, *OPTIONS)
    return outputs, RNNState(hidden[0])


LOOPS: dict[type, Callable[..., tuple[Tensor, Any]]] = {LSTM: _lstm, GRU: _gru, RNN: _rnn}


class TorchRNNBackend(EagerSteps):
    """Runs the cells in ``LOOPS``."""

    def supports(self, cell: Cell[Any], inputs: Tensor) -> bool:
        return type(cell) in LOOPS and is_stock_cell(cell)

    def run(
        self, cell: Cell[State], inputs: Tensor, state: State, episode_starts: Tensor | None
    ) -> tuple[Tensor, State]:
        n_steps, n_rows, _ = inputs.shape
        starts: list[int] = []
        if episode_starts is not None:
            starts = episode_starts.any(dim=1).nonzero().flatten().tolist()
        outputs = []
        for first, last in itertools.pairwise(sorted({0, n_steps, *starts})):
            if first in starts:
                assert episode_starts is not None
                state = select(episode_starts[first], cell.initial_state(n_rows), state)
            output, state = LOOPS[type(cell)](cell, inputs[first:last], state)
            outputs.append(output)
        return torch.cat(outputs), state


TORCH_RNN = TorchRNNBackend()
