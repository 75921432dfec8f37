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
        before = state
        # Elsewhere than on the CPU the question would make the host wait for the device.
        nowhere = episode_starts is None or (episode_starts.is_cpu and not episode_starts.any())
        if episode_starts is not None and not nowhere:
            before = select(episode_starts, cell.initial_state(len(inputs)), state)
        output, new = cell.step(cell.project(inputs), before)
        map_leaves(Tensor.copy_, state, new)
        return output.clone() if output is inputs else output  # the outputs are the caller's

    return advance
