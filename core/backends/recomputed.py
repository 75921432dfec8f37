"""The eager backend with gradient checkpointing, which takes less memory.

The sequence is cut into pieces of ``PIECE`` steps. Only the state before each piece is stored, and
the backward pass runs each piece again. The backend is for cells with a trace that no faster
backend supports, if the traces of all steps are large. It stores one trace for each piece, and
about ten for each step of the piece that is run again. Source: Chen et al. 2016 (arXiv 1604.06174).
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from plasticrl.core.backends.eager import EAGER, EagerSteps
from plasticrl.core.cells.cell import Cell
from plasticrl.core.state import State

LARGE = 1 << 26
"""The smallest size T B O I of the traces of all steps for which the backend is used."""
PIECE = 4
"""The number of steps in a piece."""


class RecomputedBackend(EagerSteps):
    """Runs every cell that has a trace."""

    def supports(self, cell: Cell[Any], inputs: Tensor) -> bool:
        if cell.connection is None or not torch.is_grad_enabled() or inputs.dim() != 3:
            return False
        n_steps, n_rows, _ = inputs.shape
        return n_steps > PIECE and n_steps * n_rows * cell.connection.weight.numel() >= LARGE

    def run(
        self, cell: Cell[State], inputs: Tensor, state: State, episode_starts: Tensor | None
    ) -> tuple[Tensor, State]:
        outputs = []
        for first in range(0, len(inputs), PIECE):
            piece = slice(first, first + PIECE)
            starts = None if episode_starts is None else episode_starts[piece]
            output, state = checkpoint(
                EAGER.run, cell, inputs[piece], state, starts, use_reentrant=False
            )
            outputs.append(output)
        return torch.cat(outputs), state


RECOMPUTED = RecomputedBackend()
