"""The reference implementation, which runs cells with torch operations, one step at a time."""

from typing import Any, Generic

import torch
from torch import Tensor

from plasticrl.core.cells.cell import Cell
from plasticrl.core.state import State, map_leaves, select
from plasticrl.core.stock import is_untouched
from plasticrl.core.torch_modes import is_transforming


class EagerStepper(Generic[State]):
    """Takes steps by calling the cell. It stores no intermediate results for ``replay``."""

    def __init__(self, cell: Cell[State], state: State) -> None:
        self._cell, self._state = cell, state

    @torch.no_grad()
    def __call__(self, inputs: Tensor, episode_starts: Tensor | None) -> Tensor:
        cell, before = self._cell, self._state
        # On a GPU, any() would make the host wait for the device.
        if episode_starts is not None and not (episode_starts.is_cpu and not episode_starts.any()):
            before = select(episode_starts, cell.initial_state(len(inputs)), before)
        output, after = cell(inputs, before)
        map_leaves(Tensor.copy_, self._state, after)
        return output.clone() if output is inputs else output  # the caller may change inputs

    def replay(self, inputs: Tensor, episode_starts: Tensor, initial_state: State) -> None:
        return None


class EagerSteps:
    """The base class of backends whose steppers are those of the eager backend."""

    def stepper(self, cell: Cell[State], state: State, n_steps: int) -> EagerStepper[State]:
        return EagerStepper(cell, state)


class EagerBackend(EagerSteps):
    """Runs every cell."""

    def supports(self, cell: Cell[Any], inputs: Tensor) -> bool:
        return True

    def run(
        self, cell: Cell[State], inputs: Tensor, state: State, episode_starts: Tensor | None
    ) -> tuple[Tensor, State]:
        if not is_transforming() and is_untouched(cell) and type(cell).forward is Cell.forward:
            step, steps = cell.step, cell.project(inputs)
        else:
            step, steps = cell, inputs
        outputs = []
        for t, is_start in enumerate(_any_start(inputs, episode_starts)):
            if episode_starts is not None and is_start:
                state = select(episode_starts[t], cell.initial_state(inputs.shape[1]), state)
            output, state = step(steps[t], state)
            outputs.append(output)
        return torch.stack(outputs), state


def _any_start(inputs: Tensor, episode_starts: Tensor | None) -> list[bool]:
    """Return for each step whether an episode may start in at least one row."""
    if episode_starts is None:
        return [False] * len(inputs)
    if is_transforming():  # control flow must not depend on values
        return [True] * len(inputs)
    any_start: list[bool] = episode_starts.any(dim=1).tolist()
    return any_start


EAGER = EagerBackend()
