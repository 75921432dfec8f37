"""Ways to run a sequence: ``eager`` is the specification, all others must equal it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from plasticrl.core.backends import eager, fused, recomputed, torch_rnn, traceless
from plasticrl.core.cells.cell import Cell

Advance = Callable[[Tensor, Tensor | None], Tensor]
"""From inputs (B, I) and episode starts (B,) to outputs (B, N)."""


class Backend(NamedTuple):
    """What ``sequence`` and ``stepper`` call, with the arguments they have checked."""

    run: Callable[..., tuple[Tensor, Any]]
    """From cell, inputs, state and episode starts, and ``memory=`` if there is one."""
    stepper: Callable[..., Advance]
    """From cell and state, and ``memory=`` if there is one."""
    memory: Callable[[Cell[Any], Any, int], Any] | None = None
    """From cell, state and a number of steps to what remembers them, or None if nothing can."""


SPECIFICATION = Backend(eager.run, eager.stepper)
SPECIALISED = (fused, traceless, torch_rnn, recomputed)
BACKENDS = ("auto", "eager", "fused")


def choose(backend: str, cell: Cell[Any], inputs: Tensor) -> Backend:
    """What runs the cell on such inputs.

    Args:
        backend: "eager"; "fused", the first of ``SPECIALISED`` that supports them; or "auto", the
            same, and eager if there is none.
        cell: any cell.
        inputs: of the length, device and dtype in question.

    Raises:
        ValueError: for an unknown backend, or "fused" where there is none.
    """
    if backend not in BACKENDS:
        raise ValueError(f"there is no backend {backend!r}; there are {', '.join(BACKENDS)}")
    for module in SPECIALISED if backend != "eager" else ():
        if module.supports(cell, inputs):
            return Backend(module.run, module.stepper, getattr(module, "memory", None))
    if backend == "fused":
        raise ValueError(
            f"backend 'fused' cannot run this {type(cell).__name__} on {inputs.dtype} inputs of "
            f"{len(inputs)} steps on {inputs.device}; use 'auto'"
        )
    return SPECIFICATION
