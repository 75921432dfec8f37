"""What a backend is: one way to run a cell, over a whole sequence and one step at a time."""

from typing import Any, Protocol

from torch import Tensor

from plasticrl.core.cells.cell import Cell
from plasticrl.core.state import State


class BackendStepper(Protocol[State]):
    """Takes steps without gradient, and changes the state that it was made with in place."""

    def __call__(self, inputs: Tensor, episode_starts: Tensor | None) -> Tensor:
        """Outputs (B, N) from inputs (B, I) and episode starts (B,), which are booleans."""

    def replay(
        self, inputs: Tensor, episode_starts: Tensor, start: State
    ) -> tuple[Tensor, State] | None:
        """What ``Backend.run`` would give for the recorded steps, from what was kept of them.

        None if the backend keeps nothing, or has given it away: then the sequence has to be run.

        Args:
            inputs: those of the recorded steps (T, B, I).
            episode_starts: likewise, (T, B).
            start: the state before the first of them.
        """


class Backend(Protocol[State]):
    """One way to run the cells that it supports. Arguments have been checked."""

    def supports(self, cell: Cell[Any], inputs: Tensor) -> bool:
        """Whether it can run the cell on inputs of this length, device and dtype."""

    def run(
        self, cell: Cell[State], inputs: Tensor, state: State, episode_starts: Tensor | None
    ) -> tuple[Tensor, State]:
        """Outputs (T, B, N) and the final state; see ``plasticrl.core.sequence``."""

    def stepper(self, cell: Cell[State], state: State, n_steps: int) -> BackendStepper[State]:
        """A stepper that records its first ``n_steps`` steps, where the backend can."""
