"""The gated recurrent unit: ``torch.nn.GRUCell``."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from plasticrl.core.cells.cell import Cell
from plasticrl.core.plasticity import check_size


@dataclass(frozen=True, kw_only=True)
class GRUConfig:
    """A GRU of ``hidden_size`` units."""

    hidden_size: int = 100

    def __post_init__(self) -> None:
        check_size(hidden_size=self.hidden_size)


class GRUState(NamedTuple):
    """hidden (B, N)."""

    hidden: Tensor


class GRU(Cell[GRUState]):
    """``torch.nn.GRUCell``."""

    def __init__(self, input_size: int, config: GRUConfig) -> None:
        super().__init__(input_size, config.hidden_size)
        self.cell = nn.GRUCell(input_size, config.hidden_size)

    def initial_state(self, batch_size: int) -> GRUState:
        return GRUState(self.cell.weight_hh.new_zeros(batch_size, self.hidden_size))

    def step(self, drive: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        hidden = self.cell(drive, state.hidden)
        return hidden, GRUState(hidden)
