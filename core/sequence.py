"""The way through time: inputs of many steps, a state, episode starts -> outputs, state.

``sequence`` is the one that learns; ``step_`` is for acting, one step at a time.
"""

from typing import Any

import torch
from torch import Tensor

from plasticrl.core.backends import BACKENDS, Backend
from plasticrl.core.backends.fused import supports
from plasticrl.core.cells.cell import Cell
from plasticrl.core.state import check_state


def sequence(
    cell: Cell[Any],
    inputs: Tensor,
    state: Any = None,
    episode_starts: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Any]:
    """Run a cell over time. A sequence cut in chunks, the state carried over, gives the same.

    Args:
        cell: any cell.
        inputs: (T, B, I), at least one step.
        state: the cell's state before the first step; None is the initial state.
        episode_starts: (T, B), true at [t, b] where an episode of row b starts with step t: before
            that step the row's state becomes the initial state. No value and no gradient crosses.
        backend: "eager", the readable specification; "fused", the same numbers, fast and in little
            memory; "auto", fused where it supports the cell, device and dtype, else eager.

    Returns:
        Outputs (T, B, N) and the state after the last step.

    Raises:
        ValueError: for a shape that does not fit, or an unknown backend.
    """
    chosen = _choose(backend, cell, inputs)
    if inputs.dim() != 3 or inputs.shape[2] != cell.input_size or inputs.shape[0] == 0:
        raise ValueError(
            f"inputs must be (steps, batch, {cell.input_size}) with at least one step, "
            f"not {tuple(inputs.shape)}"
        )
    if state is None:
        state = cell.initial_state(inputs.shape[1])
    else:
        check_state(state, cell.initial_state(0), inputs.shape[1])
    return chosen.run(cell, inputs, state, _starts(episode_starts, inputs))


@torch.no_grad()
def step_(
    cell: Cell[Any],
    inputs: Tensor,
    state: Any,
    episode_starts: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """One step without gradient that changes ``state`` in place.

    Args:
        cell: any cell.
        inputs: (B, I).
        state: the cell's state before the step, and after it.
        episode_starts: (B,), true where an episode starts with this step.
        backend: as in ``sequence``.

    Returns:
        Outputs (B, N).

    Raises:
        ValueError: for a shape that does not fit, or an unknown backend.
    """
    chosen = _choose(backend, cell, inputs)
    if inputs.dim() != 2 or inputs.shape[1] != cell.input_size:
        raise ValueError(f"inputs must be (batch, {cell.input_size}), not {tuple(inputs.shape)}")
    check_state(state, cell.initial_state(0), inputs.shape[0])
    return chosen.step_(cell, inputs, state, _starts(episode_starts, inputs))


def _choose(backend: str, cell: Cell[Any], inputs: Tensor) -> Backend:
    if backend == "auto":
        backend = "fused" if supports(cell, inputs) else "eager"
    elif backend not in BACKENDS:
        raise ValueError(f"there is no backend {backend!r}; there are auto, {', '.join(BACKENDS)}")
    return BACKENDS[backend]


def _starts(episode_starts: Tensor | None, inputs: Tensor) -> Tensor | None:
    """Episode starts as booleans, like the inputs without their last axis."""
    if episode_starts is None:
        return None
    if episode_starts.shape != inputs.shape[:-1]:
        raise ValueError(
            f"episode_starts must be {tuple(inputs.shape[:-1])} like the inputs, "
            f"not {tuple(episode_starts.shape)}"
        )
    return episode_starts.bool()
