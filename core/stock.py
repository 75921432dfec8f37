"""Check that a module is stock: unmodified since its class built it.

Fast code computes with a module's weights and does not call the module itself. It would ignore
hooks, replaced parts and pruning masks, so it is used only for modules that pass these checks.
"""

from collections.abc import Iterator
from functools import cache
from inspect import isroutine
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module

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
    return _list_parts(cell) == _list_parts_of_new(cell_class, cell.input_size, cell.config)


def is_stock_linear(module: nn.Module) -> bool:
    """Return whether a module is an unmodified ``torch.nn.Linear`` with a bias."""
    names = {name for name, value in module.named_parameters(recurse=False)}
    return type(module) is nn.Linear and names == {"weight", "bias"} and is_untouched(module)


def is_untouched(module: nn.Module) -> bool:
    """Return whether a module and its parts have no hooks and no replaced methods."""
    if torch_module._has_any_global_hook():  # type: ignore[no-untyped-call]
        return False
    return not any(
        replaces_methods(part) or any(getattr(part, hooks) for hooks in _HOOKS)
        for part in module.modules()
    )


def replaces_methods(instance: object) -> bool:
    """Return whether an attribute of an object hides a method of its class."""
    cls: Any = type(instance)
    return not _methods(cls).isdisjoint(vars(instance))


@cache
def _methods(cls: Any) -> frozenset[str]:
    return frozenset(name for name in dir(cls) if isroutine(getattr(cls, name)))


def _list_parts(module: nn.Module) -> tuple[Any, ...]:
    """Return the names and types of all submodules, and the names and shapes of their tensors."""
    return tuple(_parts(module))


def _parts(module: nn.Module) -> Iterator[tuple[Any, ...]]:
    for name, part in module.named_modules():
        yield name, type(part)
        for key, value in (*part._parameters.items(), *part._buffers.items()):
            yield key, None if value is None else value.shape


@cache
def _list_parts_of_new(cell_class: Any, input_size: int, config: CellConfig) -> tuple[Any, ...]:
    with torch.device("meta"):  # where tensors have shapes but no memory
        return _list_parts(cell_class(input_size, config))
