"""Ways to run a cell. All give the results of ``eager``, the reference, up to rounding."""

from typing import Any

from torch import Tensor

from plasticrl.core.backends.backend import Backend
from plasticrl.core.backends.composed import ComposedBackend, is_stock_composed
from plasticrl.core.backends.eager import EAGER
from plasticrl.core.backends.fused import FUSED
from plasticrl.core.backends.recomputed import RECOMPUTED
from plasticrl.core.backends.torch_rnn import TORCH_RNN
from plasticrl.core.backends.traceless import TRACELESS
from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.composed import Composed
from plasticrl.core.state import State
from plasticrl.core.torch_modes import needs_eager

SPECIALIZED: tuple[Backend[Any], ...] = (FUSED, TRACELESS, TORCH_RNN, RECOMPUTED)
BACKENDS = ("auto", "eager", "fused")


def check_backend(backend: str) -> None:
    """Raise ``ValueError`` unless ``backend`` is one of ``BACKENDS``."""
    if backend not in BACKENDS:
        raise ValueError(f"there is no backend {backend!r}; there are {', '.join(BACKENDS)}")


def choose(backend: str, cell: Cell[State], inputs: Tensor) -> Backend[State]:
    """Return the backend that runs a cell on these inputs.

    Args:
        backend: "eager" is ``EAGER``. "fused" is the first of ``SPECIALIZED`` that supports the
            cell and the inputs. "auto" is "fused", but ``EAGER`` if no backend supports them or
            if ``needs_eager(inputs)``.
        cell: any cell. A backend is chosen for each part of a ``Composed`` cell.
        inputs: (T, B, I), or any tensor of the same length, device and dtype.

    Raises:
        ValueError: for an unknown backend; or for "fused", if no backend supports the cell and the
            inputs, or if ``needs_eager(inputs)``.
    """
    check_backend(backend)
    if backend == "eager" or (backend == "auto" and needs_eager(inputs)):
        return EAGER
    if needs_eager(inputs):
        raise ValueError(
            "backend 'fused' cannot run under autocast, tracing, torch.export, torch.func or "
            "forward-mode differentiation; use 'auto'"
        )
    if isinstance(cell, Composed) and is_stock_composed(cell):
        return ComposedBackend({name: choose(backend, part, inputs) for name, part in cell.items()})
    for specialized in SPECIALIZED:
        if specialized.supports(cell, inputs):
            return specialized
    if backend == "fused":
        raise ValueError(
            f"backend 'fused' cannot run this {type(cell).__name__} on {inputs.dtype} inputs of "
            f"{len(inputs)} steps on {inputs.device}; use 'auto'"
        )
    return EAGER


def can_close_loop(backend: str, cell: Cell[Any]) -> bool:
    """Return whether a stepper of this backend and cell supports ``run_closed_loop``."""
    weight = next(cell.parameters(), None)
    if weight is None or not weight.is_cpu:
        return False
    return choose(backend, cell, weight.new_empty(1)) is FUSED
