"""Ways to run a sequence: ``eager`` is the specification, all others must equal it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from plasticrl.core.backends import eager, fused
from plasticrl.core.cells.cell import Cell

Advance = Callable[[Tensor, Tensor | None], Tensor]
"""From inputs (B, I) and episode starts (B,) to outputs (B, N)."""


class Backend(NamedTuple):
    """What ``sequence`` and ``stepper`` call, with the arguments they have checked."""

    run: Callable[[Cell[Any], Tensor, Any, Tensor | None], tuple[Tensor, Any]]
    stepper: Callable[[Cell[Any], Any], Advance]


BACKENDS = {
    "eager": Backend(eager.run, eager.stepper),
    "fused": Backend(fused.run, fused.stepper),
}
