"""The linear layers of several nets as one module."""

import copy
from collections.abc import Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


class StackedLinear(nn.Module):
    """S linear layers of the same size, each with its own weights and rows of the input.

    Args:
        layers: the layers, whose weights are copied.
        n_rows: the number of rows that each layer has at one time step, B.

    Attributes:
        weight: (S, O, I).
        bias: (S, O).
    """

    def __init__(self, layers: Sequence[nn.Linear], n_rows: int) -> None:
        super().__init__()
        self.n_rows = n_rows
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs (T S B, O) from inputs (T S B, I)."""
        n_layers, n_out, n_in = self.weight.shape
        by_layer = inputs.view(-1, n_layers, self.n_rows, n_in).transpose(0, 1).flatten(1, 2)
        outputs = torch.baddbmm(self.bias.unsqueeze(1), by_layer, self.weight.mT)
        return outputs.view(n_layers, -1, self.n_rows, n_out).transpose(0, 1).reshape(-1, n_out)


def stack_linear(modules: Sequence[Module], n_rows: int) -> Module:
    """Return a copy of the first module, in which each linear layer is that of all modules.

    Raises:
        ValueError: a module has parameters in other layers.
    """
    if isinstance(modules[0], nn.Linear):
        return cast(Module, StackedLinear(cast(Sequence[nn.Linear], modules), n_rows))
    result = copy.deepcopy(modules[0])
    for path, part in modules[0].named_modules():
        if isinstance(part, nn.Linear):
            layers = [cast(nn.Linear, module.get_submodule(path)) for module in modules]
            result.set_submodule(path, StackedLinear(layers, n_rows))
        elif any(True for _ in part.parameters(recurse=False)):
            raise ValueError(f"the parameters of {type(part).__name__} cannot be stacked")
    return result
