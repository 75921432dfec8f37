"""The recurrent net without plasticity: activity x(t) = tanh( W_in u(t) + b + w x(t-1) )."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.configs import RNNConfig


class RNNState(NamedTuple):
    """hidden (B, N)."""

    hidden: Tensor


class RNN(Cell[RNNState]):
    """``torch.nn.RNNCell`` with one bias instead of two, as in the papers' control nets."""

    def __init__(self, input_size: int, config: RNNConfig) -> None:
        super().__init__(input_size, config.hidden_size, config)
        self.input = nn.Linear(input_size, config.hidden_size)
        self.recurrent = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def initial_state(self, batch_size: int) -> RNNState:
        return RNNState(self.recurrent.weight.new_zeros(batch_size, self.hidden_size))

    def project(self, inputs: Tensor) -> Tensor:
        projected: Tensor = self.input(inputs)
        return projected

    def step(self, projected: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        hidden = torch.tanh(projected + self.recurrent(state.hidden))
        return hidden, RNNState(hidden)
