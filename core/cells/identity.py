"""A cell without recurrence, for feed-forward agents: the output is the input."""

from typing import NamedTuple

from torch import Tensor

from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.configs import IdentityConfig


class IdentityState(NamedTuple):
    """A state without tensors."""


class Identity(Cell[IdentityState]):
    """The identity as a cell."""

    def __init__(self, input_size: int, config: IdentityConfig) -> None:
        super().__init__(input_size, input_size, config)

    def initial_state(self, batch_size: int) -> IdentityState:
        return IdentityState()

    def step(self, projected: Tensor, state: IdentityState) -> tuple[Tensor, IdentityState]:
        return projected, state
