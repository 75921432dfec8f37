"""The interface of backends. A backend runs a cell over a whole sequence or one step at a time."""

from typing import Any, Protocol

from torch import Tensor

from plasticrl.core.cells.cell import Cell
from plasticrl.core.state import State


class BackendStepper(Protocol[State]):
    """Takes steps without gradient; each step changes the stepper's state in place."""

    def __call__(self, inputs: Tensor, episode_starts: Tensor | None) -> Tensor:
        """Take a step: return outputs (B, N), from inputs (B, I) and boolean starts (B,)."""

    def replay(
        self, inputs: Tensor, episode_starts: Tensor, initial_state: State
    ) -> tuple[Tensor, State] | None:
        """Return what ``Backend.run`` would return for the recorded steps, without running them.

        Return None if the backend has stored no intermediate results of the steps, or if an earlier
        call has used them up. The caller must then call ``Backend.run``.

        Args:
            inputs: the inputs of the recorded steps (T, B, I).
            episode_starts: the episode starts of the recorded steps (T, B).
            initial_state: the state before the first recorded step.
        """


class Backend(Protocol[State]):
    """A way to run the cells that it supports. Its callers have checked the arguments."""

    def supports(self, cell: Cell[Any], inputs: Tensor) -> bool:
        """Return whether it can run the cell on inputs of this length, device and dtype."""

    def run(
        self, cell: Cell[State], inputs: Tensor, state: State, episode_starts: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return outputs (T, B, N) and the final state; see ``plasticrl.core.sequence``."""

    def stepper(self, cell: Cell[State], state: State, n_steps: int) -> BackendStepper[State]:
        """Make a stepper. It may store intermediate results of its first ``n_steps`` steps."""
