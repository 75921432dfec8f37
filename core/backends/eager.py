"""The specification: plain torch, one step at a time, to be read beside the equations."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plasticrl.core.cells.cell import Cell
from plasticrl.core.state import map_leaves, select


def run(
    cell: Cell[Any], inputs: Tensor, state: Any, episode_starts: Tensor | None
) -> tuple[Tensor, Any]:
    """Outputs (T, B, N) and final state; arguments as ``plasticrl.core.sequence``, checked."""
    starting = [] if episode_starts is None else episode_starts.any(dim=1).tolist()
    outputs = []
    for t, drive in enumerate(cell.project(inputs)):
        if episode_starts is not None and starting[t]:
            state = select(episode_starts[t], cell.initial_state(inputs.shape[1]), state)
        output, state = cell.step(drive, state)
        outputs.append(output)
    return torch.stack(outputs), state


def stepper(cell: Cell[Any], state: Any) -> Callable[[Tensor, Tensor | None], Tensor]:
    """A function that advances ``state``; as ``plasticrl.core.stepper``, checked."""

    @torch.no_grad()
    def advance(inputs: Tensor, episode_starts: Tensor | None) -> Tensor:
        starts = None if episode_starts is None else episode_starts.unsqueeze(0)
        outputs, new = run(cell, inputs.unsqueeze(0), state, starts)
        map_leaves(Tensor.copy_, state, new)
        return outputs[0]

    return advance
