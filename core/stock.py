"""Check that a module is stock: unmodified since its class built it.

Fast code computes with a module's weights and does not call the module itself. It would ignore
hooks, replaced parts and pruning masks, so it is used only for modules that pass these checks.
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

    The values of the weights do not matter. False is returned for a subclass; for a cell with a
    hook, a replaced method, a parametrization or pruning; and for a cell with a part that was
    added, removed, or replaced by one of another type, size or set of parameters.
    """
    if not isinstance(cell, Cell) or cell.config is None or cell.config.name not in CELLS:
        return False
    cell_class: Any = CELLS[cell.config.name].load()
    if type(cell) is not cell_class or not is_untouched(cell):
        return False
    parts, options = _as_made(cell_class, cell.input_size, cell.config)
    return _parts(cell) == parts and all(
        vars(part).get(name) == value
        for part, made in zip(cell.modules(), options, strict=True)
        for name, value in made.items()
    )


def is_stock_linear(module: nn.Module) -> bool:
    """Return whether a module is an unmodified ``torch.nn.Linear`` with a bias."""
    names = {name for name, value in module.named_parameters(recurse=False)}
    return type(module) is nn.Linear and names == {"weight", "bias"} and is_untouched(module)


def is_untouched(module: nn.Module) -> bool:
    """Return whether a module and its parts have no hooks and no replaced methods."""
    if torch_module._has_any_global_hook():  # type: ignore[no-untyped-call]
        return False
    return not any(has_hooks(part) or replaces_methods(part) for part in module.modules())


def has_hooks(module: nn.Module) -> bool:
    """Whether hooks are registered on a module itself."""
    return any(getattr(module, hooks) for hooks in _HOOKS)


class Snapshot:
    """What a module is made of: its parts, hooks, methods and trainable weights."""

    def __init__(self, module: nn.Module) -> None:
        self.parts = _structure(module)
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        # A lazy module gets its weights when it is first called.
        self.is_lazy = any(map(is_lazy, weights))
        self.weights = [] if self.is_lazy else [weight.detach().clone() for weight in weights]

    def differs(self, module: nn.Module) -> bool:
        """Return whether the module has changed since. A lazy module is never said to."""
        if self.is_lazy:
            return False
        now = [weight for weight in module.parameters() if weight.requires_grad]
        return self.parts != _structure(module) or not all(map(torch.equal, self.weights, now))


def _structure(module: nn.Module) -> list[tuple[Hashable, ...]]:
    """The identity, the hooks and the replaced methods of each part of a module."""
    return [
        (
            id(part),
            *(hook for hooks in _HOOKS for hook in getattr(part, hooks)),
            *sorted(_replaced_methods(part)),
        )
        for part in module.modules()
    ]


def replaces_methods(instance: object) -> bool:
    """Return whether an attribute of an object hides a method of its class."""
    return bool(_replaced_methods(instance))


def _replaced_methods(instance: object) -> frozenset[str]:
    cls: Any = type(instance)
    return _methods(cls) & vars(instance).keys()


@lru_cache(maxsize=1024)
def _methods(form: Any) -> frozenset[str]:
    return frozenset(name for name in dir(form) if isroutine(getattr(form, name)))


class _Part(NamedTuple):
    """What a module and its class must agree in."""

    name: str
    form: type[nn.Module]
    shapes: dict[str, torch.Size | None]
    """The shapes of its parameters and buffers."""


def _parts(module: nn.Module) -> list[_Part]:
    return [
        _Part(
            name,
            type(part),
            {
                key: None if value is None else value.shape
                for key, value in (*part._parameters.items(), *part._buffers.items())
            },
        )
        for name, part in module.named_modules()
    ]


def options_of(module: nn.Module) -> dict[str, Hashable]:
    """The public attributes of a module, not of its parts, which can affect its results."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, Hashable) and not isinstance(value, Tensor)
        if name != "training" and not name.startswith("_")
    }


@lru_cache(maxsize=256)
def _as_made(
    form: Any, input_size: int, config: CellConfig
) -> tuple[list[_Part], list[dict[str, Hashable]]]:
    with torch.device("meta"):  # has shapes and no values
        cell = form(input_size, config)
    return _parts(cell), [options_of(part) for part in cell.modules()]
