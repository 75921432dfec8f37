"""The gated recurrent unit (GRU)."""

from typing import NamedTuple

from torch import Tensor, nn

from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.configs import GRUConfig


class GRUState(NamedTuple):
    """hidden (B, N)."""

    hidden: Tensor


class GRU(Cell[GRUState]):
    """A cell around ``torch.nn.GRUCell``."""

    def __init__(self, input_size: int, config: GRUConfig) -> None:
        super().__init__(input_size, config.hidden_size, config)
        self.cell = nn.GRUCell(input_size, config.hidden_size)

    def initial_state(self, batch_size: int) -> GRUState:
        return GRUState(self.cell.weight_hh.new_zeros(batch_size, self.hidden_size))

    def step(self, projected: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        hidden = self.cell(projected, state.hidden)
        return hidden, GRUState(hidden)
