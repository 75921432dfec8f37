"""Checks that a module was not modified, so that a fast path can use its weights directly.

A module that fails these checks is called as a module, so that its hooks, replaced parts or pruning
masks have their effect.
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
    """Whether a cell has exactly the structure that its class builds from its config.

    A hook, a method replaced on the instance, a subclass, a parametrization, pruning, or a part
    that was added, removed or replaced by one of another type, size or with other parameters makes
    this False. The values of the weights do not matter.
    """
    if not isinstance(cell, Cell) or cell.config is None or cell.config.name not in CELLS:
        return False
    form: Any = CELLS[cell.config.name].load()
    if type(cell) is not form or not is_untouched(cell):
        return False
    return _structure(cell) == _structure_of(form, cell.input_size, cell.config)


def is_stock_linear(module: nn.Module) -> bool:
    """Whether a module is an unmodified ``torch.nn.Linear`` with a bias."""
    names = {name for name, value in module.named_parameters(recurse=False)}
    return type(module) is nn.Linear and names == {"weight", "bias"} and is_untouched(module)


def is_untouched(module: nn.Module) -> bool:
    """Whether a module and all its parts have no hooks, and no method replaced on the instance."""
    if torch_module._has_any_global_hook():  # type: ignore[no-untyped-call]
        return False
    return not any(
        replaces_methods(part) or any(getattr(part, hooks) for hooks in _HOOKS)
        for part in module.modules()
    )


def replaces_methods(instance: object) -> bool:
    """Whether an attribute of an object replaces a method of its class."""
    form: Any = type(instance)
    return not _methods(form).isdisjoint(vars(instance))


@cache
def _methods(form: Any) -> frozenset[str]:
    return frozenset(name for name in dir(form) if isroutine(getattr(form, name)))


def _structure(module: nn.Module) -> tuple[Any, ...]:
    """The names and types of all parts, and the names and shapes of their parameters."""
    return tuple(_parts(module))


def _parts(module: nn.Module) -> Iterator[tuple[Any, ...]]:
    for name, part in module.named_modules():
        yield name, type(part)
        for key, value in (*part._parameters.items(), *part._buffers.items()):
            yield key, None if value is None else value.shape


@cache
def _structure_of(form: Any, input_size: int, config: CellConfig) -> tuple[Any, ...]:
    with torch.device("meta"):  # has shapes and no values
        return _structure(form(input_size, config))
