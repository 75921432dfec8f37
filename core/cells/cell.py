"""The base class of all recurrent cells: (input, state) -> (output, state)."""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from plasticrl.core.cells.configs import CellConfig
from plasticrl.core.connection import Connection

CellState = TypeVar("CellState", bound=tuple[Any, ...])


class Cell(nn.Module, ABC, Generic[CellState]):
    """A recurrent cell. It does not store its state: methods take it and return the new one.

    Attributes:
        input_size: the width of an input, I.
        hidden_size: the width of an output, N.
        connection: the plastic connection. None in a cell without one, and in a cell composed of
            other cells; see ``connections`` and ``plastic_cells``.
        config: the options of the cell; None for a cell class that has no config.
    """

    connection: Connection | None

    def __init__(self, input_size: int, hidden_size: int, config: CellConfig | None = None) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.connection = None
        self.config = config

    @abstractmethod
    def initial_state(self, batch_size: int) -> CellState:
        """Return the state at the start of an episode; the shape of every tensor is (B, ...)."""

    def project(self, inputs: Tensor) -> Tensor:
        """Return the part of a step that needs no state, such as W u(t) + b: (..., P).

        Args:
            inputs: the inputs of one or more steps (..., I).
        """
        return inputs

    @abstractmethod
    def step(self, projected: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Return the output (B, N) and the new state, from a projected input (B, P) and a state."""

    def forward(self, input: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Return the output (B, N) and the new state, from an input (B, I) and a state."""
        return self.step(self.project(input), state)

    @property
    def connections(self) -> list[Connection]:
        """All plastic connections of the cell, or of the cells of which it is composed."""
        return [part for part in self.modules() if isinstance(part, Connection)]

    def plastic_cells(self, state: CellState) -> "list[tuple[Cell[Any], Any]]":
        """Return the cells with a plastic connection, each with its part of ``state``.

        These are among the cells of which this cell is composed; a cell that is not composed of
        others returns itself, or nothing.
        """
        return [] if self.connection is None else [(self, state)]

    def modulating_activity(self, state: CellState) -> Tensor | None:
        """Return the activity (B, N) that the neuromodulator reads; None without modulation."""
        return None

    def modulation(self, state: CellState) -> Tensor | None:
        """Return M(t), (B, 1) or (B, N), from the state after step t; None without modulation."""
        activity = self.modulating_activity(state)
        if activity is None or self.connection is None:
            return None
        return self.connection.modulation(activity)
