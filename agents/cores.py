"""Builds the core of a policy: a cell of this package by its name, or a user's own by its class."""

from inspect import isabstract, isclass, signature
from typing import Any

import torch

from plasticrl.agents.options import CORES, DEFAULT_CORE
from plasticrl.core import Cell, build_cell, vary
from plasticrl.core.state import check_state
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
        input_size: the width of the features.
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
    _check(cell, input_size)
    return cell


@torch.no_grad()
def _check(cell: Cell[Any], input_size: int) -> None:
    """Take one step, and raise ``UsageError`` for a state or an output of a wrong shape."""
    n_rows, name = 2, type(cell).__name__
    state = cell.initial_state(n_rows)
    if not isinstance(state, tuple) or not hasattr(state, "_fields"):
        raise UsageError(
            f"{name}.initial_state must return a NamedTuple of tensors, not a "
            f"{type(state).__name__}"
        )
    output, new_state = cell(torch.zeros(n_rows, input_size), state)
    try:
        check_state(state, state, n_rows)
        check_state(new_state, state, n_rows)
    except ValueError as error:
        raise UsageError(f"{name}, for {n_rows} rows: {error}") from error
    if output.shape != (n_rows, cell.hidden_size):
        raise UsageError(
            f"{name}, for {n_rows} rows: the output must have shape {(n_rows, cell.hidden_size)}, "
            f"which is (rows, hidden_size), not {tuple(output.shape)}"
        )
