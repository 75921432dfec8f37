"""Check that a module is stock, which means unmodified since its class built it.

Fast code computes with a module's weights instead of calling the module. It would ignore hooks,
replaced submodules and pruning masks, so it is used only for modules that pass these checks.
"""

from collections.abc import Hashable
from functools import lru_cache
from inspect import isroutine
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.parameter import is_lazy

from plasticrl.core.cells import CELLS
from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.configs import CellConfig

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def is_stock_cell(cell: nn.Module) -> bool:
    """Return whether a cell has exactly the structure that its class builds from its config.

    The values of the weights do not matter. A cell is not stock if it is of a subclass; if it has a
    hook, a replaced method, a parametrization or pruning; or if a submodule was added, removed, or
    replaced by one of another type, size or set of parameters.
    """
    if not isinstance(cell, Cell) or cell.config is None or cell.config.name not in CELLS:
        return False
    cell_class: Any = CELLS[cell.config.name].load()
    if type(cell) is not cell_class or not is_untouched(cell):
        return False
    structures, options = _as_built(cell_class, cell.input_size, cell.config)
    return _structures(cell) == structures and all(
        vars(module).get(name) == value
        for module, expected in zip(cell.modules(), options, strict=True)
        for name, value in expected.items()
    )


def is_stock_linear(module: nn.Module) -> bool:
    """Return whether a module is an unmodified ``torch.nn.Linear`` with a bias."""
    names = {name for name, value in module.named_parameters(recurse=False)}
    return type(module) is nn.Linear and names == {"weight", "bias"} and is_untouched(module)


def is_untouched(module: nn.Module) -> bool:
    """Return whether a module and its submodules have no hooks and no replaced methods."""
    if torch_module._has_any_global_hook():  # type: ignore[no-untyped-call]
        return False
    return not any(has_hooks(item) or replaces_methods(item) for item in module.modules())


def has_hooks(module: nn.Module) -> bool:
    """Return whether hooks are registered on a module itself, not on its submodules."""
    return any(getattr(module, hooks) for hooks in _HOOKS)


class Snapshot:
    """A record of a module's submodules, hooks, replaced methods and trainable weights."""

    def __init__(self, module: nn.Module) -> None:
        self.fingerprints = _fingerprints(module)
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        # A lazy module gets its weights when it is first called.
        self.is_lazy = any(map(is_lazy, weights))
        self.weights = [] if self.is_lazy else [weight.detach().clone() for weight in weights]

    def differs(self, module: nn.Module) -> bool:
        """Return whether the module has changed since; always false for a lazy module."""
        if self.is_lazy:
            return False
        now = [weight for weight in module.parameters() if weight.requires_grad]
        if self.fingerprints != _fingerprints(module):
            return True
        return not all(map(torch.equal, self.weights, now))


def _fingerprints(module: nn.Module) -> list[tuple[Hashable, ...]]:
    """Return the identity, the hooks and the replaced methods of a module and each submodule."""
    return [
        (
            id(item),
            *(hook for hooks in _HOOKS for hook in getattr(item, hooks)),
            *sorted(_replaced_methods(item)),
        )
        for item in module.modules()
    ]


def replaces_methods(instance: object) -> bool:
    """Return whether an attribute of an object hides a method of its class."""
    return bool(_replaced_methods(instance))


def _replaced_methods(instance: object) -> frozenset[str]:
    cls: Any = type(instance)
    return _methods(cls) & vars(instance).keys()


@lru_cache(maxsize=1024)
def _methods(cls: Any) -> frozenset[str]:
    return frozenset(name for name in dir(cls) if isroutine(getattr(cls, name)))


class _Structure(NamedTuple):
    """The properties in which a submodule must equal that of a newly built cell."""

    name: str
    cls: type[nn.Module]
    shapes: dict[str, torch.Size | None]
    """The shapes of its parameters and buffers."""


def _structures(module: nn.Module) -> list[_Structure]:
    return [
        _Structure(
            name,
            type(item),
            {
                key: None if value is None else value.shape
                for key, value in (*item._parameters.items(), *item._buffers.items())
            },
        )
        for name, item in module.named_modules()
    ]


def options_of(module: nn.Module) -> dict[str, Hashable]:
    """Return a module's own public, hashable attributes, which can affect its results."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, Hashable) and not isinstance(value, Tensor)
        if name != "training" and not name.startswith("_")
    }


@lru_cache(maxsize=256)
def _as_built(
    cell_class: Any, input_size: int, config: CellConfig
) -> tuple[list[_Structure], list[dict[str, Hashable]]]:
    """Build a cell, and return the structure and the options of each of its modules."""
    with torch.device("meta"):  # tensors with shapes but without values
        cell = cell_class(input_size, config)
    return _structures(cell), [options_of(module) for module in cell.modules()]
