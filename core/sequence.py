"""The way through time: inputs of many steps, a state, episode starts -> outputs, state."""

from typing import Any

from torch import Tensor

from plasticrl.core.backends import BACKENDS
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
    if backend != "auto" and backend not in BACKENDS:
        raise ValueError(f"there is no backend {backend!r}; there are auto, {', '.join(BACKENDS)}")
    if inputs.dim() != 3 or inputs.shape[2] != cell.input_size or inputs.shape[0] == 0:
        raise ValueError(
            f"inputs must be (steps, batch, {cell.input_size}) with at least one step, "
            f"not {tuple(inputs.shape)}"
        )
    if state is None:
        state = cell.initial_state(inputs.shape[1])
    else:
        check_state(state, cell.initial_state(1), inputs.shape[1])
    if episode_starts is not None:
        if episode_starts.shape != inputs.shape[:2]:
            raise ValueError(
                f"episode_starts must be {tuple(inputs.shape[:2])} like the inputs, "
                f"not {tuple(episode_starts.shape)}"
            )
        episode_starts = episode_starts.bool()
    if backend == "auto":
        backend = "fused" if supports(cell, inputs) else "eager"
    return BACKENDS[backend](cell, inputs, state, episode_starts)
