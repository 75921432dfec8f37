"""Run each part of a ``Stack`` or a ``Parallel`` over the whole sequence by a suitable backend."""

from typing import Any

from torch import Tensor

from plasticrl.core.backends.backend import Backend, BackendStepper
from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.composed import Composed, Parallel, Stack
from plasticrl.core.replay import ReplayError
from plasticrl.core.stock import is_untouched


def is_stock_composed(cell: Cell[Any]) -> bool:
    """Return whether running a cell's parts gives the same results as calling the cell."""
    return type(cell) in (Stack, Parallel) and is_untouched(cell)


class ComposedBackend:
    """Runs one composed cell.

    Args:
        backends: the backends of the cell's parts, by name.
    """

    def __init__(self, backends: dict[str, Backend[Any]]) -> None:
        self.backends = backends

    def supports(self, cell: Cell[Any], inputs: Tensor) -> bool:
        return is_stock_composed(cell)

    def run(
        self, cell: Cell[Any], inputs: Tensor, state: Any, episode_starts: Tensor | None
    ) -> tuple[Tensor, Any]:
        assert isinstance(cell, Composed)
        parts, states = cell.parts, cell.split(state)

        def run(name: str, given: Tensor) -> Tensor:
            arguments: Any = (parts[name], given, states[name], episode_starts)
            outputs, states[name] = self.backends[name].run(*arguments)
            return outputs

        return cell.connect(inputs, run), cell.join(states)

    def stepper(self, cell: Cell[Any], state: Any, n_steps: int) -> "ComposedStepper":
        assert isinstance(cell, Composed)
        states = cell.split(state)  # shares its tensors with ``state``
        return ComposedStepper(
            cell,
            {
                name: self.backends[name].stepper(part, states[name], n_steps)
                for name, part in cell.items()
            },
        )


class ComposedStepper:
    """Takes steps with the steppers of the parts."""

    def __init__(self, cell: Composed, steppers: dict[str, BackendStepper[Any]]) -> None:
        self._cell, self._steppers = cell, steppers

    def __call__(self, inputs: Tensor, episode_starts: Tensor | None) -> Tensor:
        return self._cell.connect(
            inputs, lambda name, given: self._steppers[name](given, episode_starts)
        )

    def replay(
        self, inputs: Tensor, episode_starts: Tensor, initial_state: Any
    ) -> tuple[Tensor, Any] | None:
        states = self._cell.split(initial_state)

        def run(name: str, given: Tensor) -> Tensor:
            results = self._steppers[name].replay(given, episode_starts, states[name])
            if results is None:
                raise ReplayError
            outputs, states[name] = results
            return outputs

        try:
            return self._cell.connect(inputs, run), self._cell.join(states)
        except ReplayError:
            return None
