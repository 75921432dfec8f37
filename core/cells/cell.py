"""The base class of all recurrent cells: (input, state) -> (output, state)."""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from plasticrl.core.cells.configs import CellConfig
from plasticrl.core.connection import PlasticConnection

CellState = TypeVar("CellState", bound=tuple[Any, ...])


class Cell(nn.Module, ABC, Generic[CellState]):
    """A recurrent cell. It does not store its state: methods take a state and return the new one.

    Attributes:
        input_size: width of an input.
        hidden_size: width of an output.
        connection: the plastic connection, or None in a cell without one.
        config: the options that the cell was made from; None in a cell that has no config.
    """

    connection: PlasticConnection | None

    def __init__(self, input_size: int, hidden_size: int, config: CellConfig | None = None) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.connection = None
        self.config = config

    @abstractmethod
    def initial_state(self, batch_size: int) -> CellState:
        """Return the state at the start of an episode; every leaf is (B, ...)."""

    def project(self, inputs: Tensor) -> Tensor:
        """Compute the part of a step that needs no state, from all inputs (..., I) at once."""
        return inputs

    @abstractmethod
    def step(self, drive: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Return the output (B, N) and the new state, from a projected input and the state."""

    def forward(self, input: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Return the output (B, N) and the new state, from an input (B, I) and the state."""
        return self.step(self.project(input), state)

    def modulating_activity(self, state: CellState) -> Tensor | None:
        """The part of the state that the neuromodulator reads, (B, N); None without one."""
        return None

    def modulation(self, state: CellState) -> Tensor | None:
        """M(t), (B, 1) or (B, N), from the state after step t; None if not modulated."""
        activity = self.modulating_activity(state)
        if activity is None or self.connection is None:
            return None
        return self.connection.modulation(activity)
