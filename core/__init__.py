"""The core: recurrent cells with plastic connections, and functions that run them over time.

Tensors over time have the shape (T, B, ...), with T steps and B batch rows. Weight matrices have
the shape (out, in). Names that need torch are imported on first use, so that reading options and
``--help`` do not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from plasticrl.core.cells import CELLS, build_cell, cell_fields, vary
from plasticrl.core.plasticity import OptionError, Plasticity

if TYPE_CHECKING:
    from plasticrl.core.cells.cell import Cell
    from plasticrl.core.connection import PlasticConnection
    from plasticrl.core.modulation import Neuromodulator
    from plasticrl.core.unroll import sequence, stepper

__all__ = [
    "CELLS",
    "Cell",
    "Neuromodulator",
    "OptionError",
    "PlasticConnection",
    "Plasticity",
    "build_cell",
    "cell_fields",
    "sequence",
    "stepper",
    "vary",
]

_MODULES = {
    "Cell": "cells.cell",
    "Neuromodulator": "modulation",
    "PlasticConnection": "connection",
    "sequence": "unroll",
    "stepper": "unroll",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
