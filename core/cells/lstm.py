"""The long short-term memory (LSTM)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.configs import LSTMConfig


class LSTMState(NamedTuple):
    """hidden (B, N) and cell (B, N)."""

    hidden: Tensor
    cell: Tensor


class LSTM(Cell[LSTMState]):
    """A cell around ``torch.nn.LSTMCell``."""

    def __init__(self, input_size: int, config: LSTMConfig) -> None:
        super().__init__(input_size, config.hidden_size, config)
        self.cell = nn.LSTMCell(input_size, config.hidden_size)

    def initial_state(self, batch_size: int) -> LSTMState:
        zeros = self.cell.weight_hh.new_zeros(batch_size, self.hidden_size)
        return LSTMState(zeros, torch.zeros_like(zeros))

    def step(self, projected: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        hidden, cell = self.cell(projected, (state.hidden, state.cell))
        return hidden, LSTMState(hidden, cell)
