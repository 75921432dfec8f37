"""The eager backend with gradient checkpointing, which takes less memory.

The sequence is divided into segments of ``SEGMENT_LENGTH`` steps. The forward pass stores only the
state before each segment, and the backward pass runs each segment again. So one trace is stored for
each segment, and about ten for each step of the segment that is run again. The backend is for cells
with a trace that no faster backend supports, if the traces of all steps together are large. Source:
Chen et al. 2016 (arXiv 1604.06174).
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from plasticrl.core.backends.eager import EAGER, EagerSteps
from plasticrl.core.cells.cell import Cell
from plasticrl.core.state import State

MIN_SIZE = 1 << 26
"""The smallest size T B O I of the traces of all steps for which the backend is used."""
SEGMENT_LENGTH = 4
"""The number of steps in a segment."""


class RecomputedBackend(EagerSteps):
    """Runs every cell that has a trace."""

    def supports(self, cell: Cell[Any], inputs: Tensor) -> bool:
        if cell.connection is None or not torch.is_grad_enabled() or inputs.dim() != 3:
            return False
        n_steps, n_rows, _ = inputs.shape
        return (
            n_steps > SEGMENT_LENGTH
            and n_steps * n_rows * cell.connection.weight.numel() >= MIN_SIZE
        )

    def run(
        self, cell: Cell[State], inputs: Tensor, state: State, episode_starts: Tensor | None
    ) -> tuple[Tensor, State]:
        outputs = []
        for first in range(0, len(inputs), SEGMENT_LENGTH):
            segment = slice(first, first + SEGMENT_LENGTH)
            starts = None if episode_starts is None else episode_starts[segment]
            output, state = checkpoint(
                EAGER.run, cell, inputs[segment], state, starts, use_reentrant=False
            )
            outputs.append(output)
        return torch.cat(outputs), state


RECOMPUTED = RecomputedBackend()
