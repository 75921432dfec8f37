"""Ways to run a sequence: ``eager`` is the specification, all others must equal it."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from plasticrl.core.backends import eager, fused
from plasticrl.core.cells.cell import Cell

Run = Callable[[Cell[Any], Tensor, Any, Tensor | None], tuple[Tensor, Any]]

BACKENDS: dict[str, Run] = {"eager": eager.run, "fused": fused.run}
