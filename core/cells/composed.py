"""Cells composed of other cells: ``Stack`` in layers, ``Parallel`` side by side.

The state is one NamedTuple with the tensors of all parts, whose names begin with the name of their
part: ``layer_1_hidden``, ``layer_2_hidden``, or ``actor_hidden``, ``critic_hidden``.
"""

from abc import abstractmethod
from collections import namedtuple
from collections.abc import Callable, Iterable
from functools import cache
from itertools import accumulate, chain, islice
from typing import Any

import torch
from torch import Tensor, nn

from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.configs import CellConfig

RunPart = Callable[[str, Tensor], Tensor]
"""A function from the name of a part and its inputs (..., I) to its outputs (..., N)."""


class Composed(Cell[Any]):
    """The base class of cells composed of other cells.

    Attributes:
        parts: the cells, by name.
    """

    def __init__(
        self,
        parts: dict[str, Cell[Any]],
        input_size: int,
        hidden_size: int,
        config: CellConfig | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, config)
        self.parts = nn.ModuleDict(parts)

    @abstractmethod
    def connect(self, inputs: Tensor, run: RunPart) -> Tensor:
        """Return the outputs (..., N), from inputs (..., I) and a function that runs a part."""

    def initial_state(self, batch_size: int) -> Any:
        return self.join({name: part.initial_state(batch_size) for name, part in self.items()})

    def step(self, projected: Tensor, state: Any) -> tuple[Tensor, Any]:
        states = self.split(state)

        def run(name: str, inputs: Tensor) -> Tensor:
            output: Tensor
            output, states[name] = self.parts[name](inputs, states[name])
            return output

        return self.connect(projected, run), self.join(states)

    def plastic_cells(self, state: Any) -> list[tuple[Cell[Any], Any]]:
        states = self.split(state)
        return [cell for name, part in self.items() for cell in part.plastic_cells(states[name])]

    def items(self) -> list[tuple[str, Cell[Any]]]:
        """Return the names of the parts with the parts."""
        return list(self.parts.items())  # type: ignore[arg-type]

    def split(self, state: Any) -> dict[str, Any]:
        """Return the states of the parts, by name. They share their tensors with ``state``."""
        rest = iter(state)
        templates = {name: part.initial_state(0) for name, part in self.items()}
        return {
            name: type(template)(*islice(rest, len(template)))
            for name, template in templates.items()
        }

    @staticmethod
    def join(states: dict[str, Any]) -> Any:
        """Return the state composed of the states of all parts; the inverse of ``split``."""
        name = "And".join(type(state).__name__ for state in states.values())
        fields = tuple(f"{part}_{leaf}" for part, state in states.items() for leaf in state._fields)
        return _make_state(name, fields, chain(*states.values()))


class Stack(Composed):
    """Layers, each of which reads the outputs of the one before.

    Args:
        layers: the cells, which get the names ``layer_1``, ``layer_2`` and so on.
        config: the options of all layers; None if they differ.
    """

    def __init__(self, layers: Iterable[Cell[Any]], config: CellConfig | None = None) -> None:
        parts = {f"layer_{number}": layer for number, layer in enumerate(layers, 1)}
        cells = list(parts.values())
        super().__init__(parts, cells[0].input_size, cells[-1].hidden_size, config)

    def connect(self, inputs: Tensor, run: RunPart) -> Tensor:
        for name in self.parts:
            inputs = run(name, inputs)
        return inputs


class Parallel(Composed):
    """Cells side by side, whose inputs and outputs are concatenated.

    Args:
        parts: the cells, by name.
    """

    def __init__(self, **parts: Cell[Any]) -> None:
        widths = [(part.input_size, part.hidden_size) for part in parts.values()]
        super().__init__(parts, *(sum(sizes) for sizes in zip(*widths, strict=True)))
        # The indices at which the concatenated inputs are split.
        self.split_indices = list(accumulate(size for size, _ in widths[:-1]))

    def connect(self, inputs: Tensor, run: RunPart) -> Tensor:
        pieces = inputs.tensor_split(self.split_indices, dim=-1)
        return torch.cat([run(*pair) for pair in zip(self.parts, pieces, strict=True)], dim=-1)


@cache
def _state_type(name: str, fields: tuple[str, ...]) -> Any:
    """Return a NamedTuple class, the same one for the same arguments."""
    make_class: Any = namedtuple  # mypy does not accept computed names
    cls = make_class(name, fields)
    # Pickle stores only the name of a class, under which no module has this class.
    cls.__reduce__ = lambda state: (_make_state, (name, fields, tuple(state)))
    return cls


def _make_state(name: str, fields: tuple[str, ...], values: Iterable[Tensor | None]) -> Any:
    return _state_type(name, fields)(*values)
