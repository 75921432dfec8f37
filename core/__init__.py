"""The shared core: recurrent cells with plastic connections, and the way through time.

Shapes are time-major, (T, B, ...); weights and traces are (out, in).
"""

from plasticrl.core.cells import CELLS, build_cell, cell_fields
from plasticrl.core.cells.cell import Cell
from plasticrl.core.connection import PlasticConnection
from plasticrl.core.modulation import Neuromodulator
from plasticrl.core.plasticity import Plasticity
from plasticrl.core.sequence import sequence, stepper

__all__ = [
    "CELLS",
    "Cell",
    "Neuromodulator",
    "PlasticConnection",
    "Plasticity",
    "build_cell",
    "cell_fields",
    "sequence",
    "stepper",
]
