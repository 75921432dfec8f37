"""Several plastic recurrent nets as one cell, each with its own weights and rows of the batch.

This makes it possible to train the nets of several seeds together: the kernels process the rows of
all nets at once.
"""

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.plastic_rnn import PlasticRNN, PlasticRNNState
from plasticrl.core.state import map_leaves
from plasticrl.core.stock import is_stock_cell

Module = TypeVar("Module", bound=nn.Module)


class Population(Cell[PlasticRNNState]):
    """Runs S nets side by side: of S B rows, the first B belong to the first net, and so on.

    Its parameters are copies of those of the nets, stacked along a new first axis: a weight matrix
    (N, N) becomes one of shape (S, N, N).

    Args:
        nets: nets with equal sizes and options.

    Attributes:
        n_nets: S.
        stacked: a net with the stacked parameters, which cannot be called by itself.

    Raises:
        ValueError: there is no net, the nets differ in sizes or options, or one was modified (see
            ``plasticrl.core.stock.is_stock_cell``).
    """

    def __init__(self, nets: Sequence[PlasticRNN]) -> None:
        if not nets:
            raise ValueError("a population needs at least one net")
        first = nets[0]
        kinds = {(type(net), net.input_size, net.config) for net in nets}
        if kinds != {(PlasticRNN, first.input_size, first.config)}:
            raise ValueError("the nets of a population must be PlasticRNNs of one size and config")
        if not all(map(is_stock_cell, nets)):
            raise ValueError("a net of a population must not be modified after it was built")
        super().__init__(first.input_size, first.hidden_size, first.config)
        self.n_nets = len(nets)
        self.stacked = stack_modules(nets)

    def initial_state(self, batch_size: int) -> PlasticRNNState:
        self.check_rows(batch_size)
        return self.stacked.initial_state(batch_size)

    def project(self, inputs: Tensor) -> Tensor:
        layer = self.stacked.input
        if layer is None:
            return inputs
        nets = zip(self._split(inputs, dim=-2), layer.weight, layer.bias, strict=True)
        projected = [F.linear(rows, weight, bias) for rows, weight, bias in nets]
        return self.stacked.with_trial_starts(torch.cat(projected, dim=-2), inputs)

    def step(self, projected: Tensor, state: PlasticRNNState) -> tuple[Tensor, PlasticRNNState]:
        step, outputs, states = _Step(self.stacked), [], []
        rows = zip(*(self._split(tensor) for tensor in (projected, *state)), strict=True)
        for number, (inputs, *leaves) in enumerate(rows):
            arguments = (inputs, PlasticRNNState(*leaves))
            output, new = functional_call(step, _part(step, number), arguments)
            outputs.append(output)
            states.append(new)
        return torch.cat(outputs), map_leaves(lambda *leaves: torch.cat(leaves), *states)

    def plastic_cells(self, state: PlasticRNNState) -> list[tuple[Cell[Any], Any]]:
        return [(self, state)]

    def modulating_activity(self, state: PlasticRNNState) -> Tensor | None:
        return self.stacked.modulating_activity(state)

    def modulation(self, state: PlasticRNNState) -> Tensor | None:
        modulator = self.stacked.connection.modulator
        if modulator is None:
            return None
        rows = enumerate(self._split(state.hidden))
        return torch.cat([functional_call(modulator, _part(modulator, n), (x,)) for n, x in rows])

    def _split(self, rows: Tensor | None, dim: int = 0) -> Sequence[Any]:
        """Split rows into those of each net; None is split into one None for each net."""
        if rows is None:
            return [None] * self.n_nets
        self.check_rows(rows.shape[dim])
        return rows.tensor_split(self.n_nets, dim=dim)

    def check_rows(self, n_rows: int) -> None:
        """Raise ``ValueError`` if the rows cannot be divided equally among the nets."""
        if n_rows % self.n_nets:
            raise ValueError(
                f"a population of {self.n_nets} nets needs a multiple of {self.n_nets} rows, not "
                f"{n_rows}"
            )


def _part(stacked: nn.Module, number: int) -> dict[str, Tensor]:
    """Return the parameters of one of the modules whose parameters are stacked, by name."""
    return {name: parameter[number] for name, parameter in stacked.named_parameters()}


class _Step(nn.Module):
    """A module that runs a cell's ``step`` when it is called, as ``functional_call`` requires."""

    def __init__(self, cell: PlasticRNN) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, projected: Tensor, state: PlasticRNNState) -> tuple[Tensor, PlasticRNNState]:
        return self.cell.step(projected, state)


def stack_modules(modules: Sequence[Module]) -> Module:
    """Return a copy of the first module, with the parameters of all modules stacked."""
    stacked = copy.deepcopy(modules[0])
    for path, part in stacked.named_modules():
        parts = [module.get_submodule(path) for module in modules]
        for name, old in list(part.named_parameters(recurse=False)):
            values = [one.get_parameter(name).detach() for one in parts]
            part.register_parameter(name, nn.Parameter(torch.stack(values), old.requires_grad))
    return stacked
