"""The specification in little memory: in pieces, each of which is computed again on the way back.

For cells with a trace that no faster backend takes, where the traces of all steps are too large to
keep. Memory is some ten traces for each step of a piece, and one for each piece.
Source: Chen et al. 2016 (arXiv 1604.06174).
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from plasticrl.core.backends import eager
from plasticrl.core.cells.cell import Cell

stepper = eager.stepper

LARGE = 1 << 26
"""Numbers T B O I in the traces, one for each step, that are too many to keep."""
PIECE = 4
"""Steps of a piece."""


def supports(cell: Cell[Any], inputs: Tensor) -> bool:
    """Whether ``run`` can run the cell, and so much memory would be taken otherwise."""
    if cell.connection is None or not torch.is_grad_enabled() or inputs.dim() != 3:
        return False
    n_steps, n_rows, _ = inputs.shape
    return n_steps > PIECE and n_steps * n_rows * cell.connection.weight.numel() >= LARGE


def run(
    cell: Cell[Any], inputs: Tensor, state: Any, episode_starts: Tensor | None
) -> tuple[Tensor, Any]:
    """Outputs (T, B, N) and final state; arguments as ``plasticrl.core.sequence``, checked."""
    outputs = []
    for start in range(0, len(inputs), PIECE):
        window = slice(start, start + PIECE)
        starts = None if episode_starts is None else episode_starts[window]
        output, state = checkpoint(
            eager.run, cell, inputs[window], state, starts, use_reentrant=False
        )
        outputs.append(output)
    return torch.cat(outputs), state
