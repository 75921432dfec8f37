"""Ways to run a sequence: ``eager`` is the specification, all others must equal it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from plasticrl.core.backends import eager, fused
from plasticrl.core.cells.cell import Cell


class Backend(NamedTuple):
    """What ``sequence`` and ``step_`` call, with the arguments they have checked."""

    run: Callable[[Cell[Any], Tensor, Any, Tensor | None], tuple[Tensor, Any]]
    step_: Callable[[Cell[Any], Tensor, Any, Tensor | None], Tensor]


BACKENDS = {
    "eager": Backend(eager.run, eager.step_),
    "fused": Backend(fused.run, fused.step_),
}
