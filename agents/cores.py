"""Builds the core of a policy: a cell of this package by its name, or a user's cell class."""

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import isabstract, isclass, signature
from typing import Any

import torch
from torch import Tensor

from plasticrl.agents.failures import summary
from plasticrl.agents.options import CORES, DEFAULT_CORE
from plasticrl.core import Cell, build_cell, vary
from plasticrl.core.state import check_state, leaves, map_leaves
from plasticrl.runs import UsageError


def check_core(core: Any) -> None:
    """Raise ``UsageError`` unless ``core`` is what ``build_core`` takes."""
    is_own = isclass(core) and issubclass(core, Cell)
    if not (core is None or core in CORES or is_own):
        raise UsageError(
            f"core must be one of {', '.join(CORES)}, or a class that inherits "
            f"plasticrl.core.Cell, not {' '.join(repr(core).split())}"
        )
    if is_own and isabstract(core):
        missing = ", ".join(sorted(core.__abstractmethods__))
        raise UsageError(f"core={core.__name__} cannot be built: it does not define {missing}")


def build_core(
    core: str | type[Cell[Any]] | None, input_size: int, core_kwargs: dict[str, Any]
) -> Cell[Any]:
    """Build the core of a policy.

    Args:
        core: a name of ``CORES``; None, for ``DEFAULT_CORE``; or a subclass of ``Cell``, which is
            called with ``input_size`` and ``core_kwargs``.
        input_size: the number of features.
        core_kwargs: the core's options.

    Raises:
        ValueError: for an option that the core does not have or that is missing, or a user's cell
            whose state or output has a wrong shape.
    """
    if core is None:
        return build_cell(vary(DEFAULT_CORE, core_kwargs)[0], input_size)
    if isinstance(core, str):
        return build_cell(core, input_size, **core_kwargs)
    return _build_own(core, input_size, core_kwargs)


def _build_own(form: type[Cell[Any]], input_size: int, core_kwargs: dict[str, Any]) -> Cell[Any]:
    try:
        signature(form).bind(input_size, **core_kwargs)
    except TypeError as error:
        raise UsageError(f"core_kwargs do not fit {form.__name__}: {error}") from error
    cell = form(input_size, **core_kwargs)
    _check_cell(cell, input_size)
    return cell


@torch.no_grad()
def _check_cell(cell: Cell[Any], input_size: int) -> None:
    """Run the cell with several batch sizes; raise ``UsageError`` for a wrong state or output."""
    name, size = type(cell).__name__, cell.hidden_size
    if not isinstance(size, int) or size < 1:
        raise UsageError(f"{name}.hidden_size must be an integer of at least 1, not {size!r}")
    for n_rows in (0, 2, 3):
        with _prefixed_errors(f"{name}.initial_state({n_rows})"):
            state = cell.initial_state(n_rows)
        if not isinstance(state, tuple) or not hasattr(state, "_fields"):
            raise UsageError(
                f"{name}.initial_state must return a NamedTuple of tensors, not a "
                f"{type(state).__name__}"
            )
        _check_leaves(f"the state of {name}.initial_state", state)
        if n_rows > 0:
            _check_step(cell, torch.zeros(n_rows, input_size), state)


def _check_step(cell: Cell[Any], inputs: Tensor, state: Any) -> None:
    name, n_rows = type(cell).__name__, len(inputs)
    with _prefixed_errors(f"{name}.initial_state({n_rows})"):
        check_state(state, state, n_rows)
    before = map_leaves(Tensor.clone, state)
    with _prefixed_errors(f"a step of {name} with {n_rows} rows"):
        output, new_state = cell(inputs, state)
        check_state(new_state, state, n_rows)
        if output.shape != (n_rows, cell.hidden_size):
            raise UsageError(
                f"the output must have shape {(n_rows, cell.hidden_size)}, which is (rows, "
                f"hidden_size), not {tuple(output.shape)}"
            )
    _check_leaves(f"the output and the new state of {name}", (output, *new_state))
    if not all(map(torch.equal, leaves(state), leaves(before))):
        raise UsageError(f"{name}.step must return a new state, and leave the old one unchanged")


def _check_leaves(what: str, parts: tuple[Any, ...]) -> None:
    for leaf in parts:
        if not (leaf is None or isinstance(leaf, Tensor)):
            raise UsageError(f"{what} must be tensors, or None, not a {type(leaf).__name__}")
        if leaf is not None and leaf.is_floating_point() and leaf.dtype != torch.float32:
            raise UsageError(f"{what} must have the dtype float32, not {leaf.dtype}")


@contextmanager
def _prefixed_errors(what: str) -> Iterator[None]:
    """Raise an error in the block as a ``UsageError`` whose message begins with ``what``."""
    try:
        yield
    except Exception as error:
        message = str(error) if isinstance(error, ValueError) else summary(error)
        raise UsageError(f"{what}: {message}") from error
