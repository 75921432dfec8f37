"""The way through time: inputs of many steps, a state, episode starts -> outputs, state.

``sequence`` is the one that learns; ``stepper`` is for acting, one step at a time.
"""

from typing import Any

import torch
from torch import Tensor

from plasticrl.core.backends import choose
from plasticrl.core.cells.cell import Cell
from plasticrl.core.state import check_state, leaves


class Stepper:
    """What ``stepper`` makes; arguments as there.

    Attributes:
        memory: of its first ``n_steps`` steps, for ``sequence``; None if it has none.
    """

    memory: Any

    def __init__(self, cell: Cell[Any], state: Any, backend: str, n_steps: int) -> None:
        if n_steps < 0:
            raise ValueError(f"n_steps, how many to remember, must be at least 0, not {n_steps}")
        n_rows = next((len(leaf) for leaf in leaves(state)), None)  # None: a cell without a state
        check_state(state, cell.initial_state(0), n_rows or 0)
        weight = next(cell.parameters(), None)
        example = torch.empty(1) if weight is None else weight.new_empty(1)
        chosen = choose(backend, cell, example)
        self.memory = chosen.memory(cell, state, n_steps) if n_steps and chosen.memory else None
        self._advance = chosen.stepper(cell, state, **_known(self.memory))
        self._n_rows, self._size = n_rows, cell.input_size
        self._dtype = None if weight is None else weight.dtype

    def __call__(self, inputs: Tensor, episode_starts: Tensor | None = None) -> Tensor:
        """Outputs (B, N) from inputs (B, I) and episode starts (B,).

        Raises:
            ValueError: for a shape or dtype that does not fit.
        """
        expected = (len(inputs) if self._n_rows is None else self._n_rows, self._size)
        if inputs.shape != expected:
            raise ValueError(f"inputs must be {expected}, not {tuple(inputs.shape)}")
        if self._dtype is not None and inputs.dtype != self._dtype:
            raise ValueError(f"inputs must be {self._dtype} as the weights, not {inputs.dtype}")
        return self._advance(inputs, _starts(episode_starts, inputs))


def sequence(
    cell: Cell[Any],
    inputs: Tensor,
    state: Any = None,
    episode_starts: Tensor | None = None,
    backend: str = "auto",
    stepped: Stepper | None = None,
) -> tuple[Tensor, Any]:
    """Run a cell over time. A sequence cut in chunks, the state carried over, gives the same.

    Args:
        cell: any cell.
        inputs: (T, B, I), at least one step.
        state: the cell's state before the first step; None is the initial state.
        episode_starts: (T, B), true at [t, b] where an episode of row b starts with step t: before
            that step the row's state becomes the initial state. No value and no gradient crosses.
        backend: "eager", the readable specification; "fused", the same numbers, fast and in little
            memory; "auto", fused where it supports the cell, device and dtype, else eager. Higher
            derivatives and ``torch.func`` need eager.
        stepped: a stepper with a memory. If it went exactly this way, from this state and by these
            inputs and weights, what it has computed is not computed again. Its memory is gone then.

    Returns:
        Outputs (T, B, N) and the state after the last step.

    Raises:
        ValueError: for a shape that does not fit, or an unknown backend.
    """
    chosen = choose(backend, cell, inputs)
    if inputs.dim() != 3 or inputs.shape[2] != cell.input_size or inputs.shape[0] == 0:
        raise ValueError(
            f"inputs must be (steps, batch, {cell.input_size}) with at least one step, "
            f"not {tuple(inputs.shape)}"
        )
    if state is None:
        state = cell.initial_state(inputs.shape[1])
    else:
        check_state(state, cell.initial_state(0), inputs.shape[1])
    memory = None if stepped is None or chosen.memory is None else stepped.memory
    starts = _starts(episode_starts, inputs)
    return chosen.run(cell, inputs, state, starts, **_known(memory))


def stepper(cell: Cell[Any], state: Any, backend: str = "auto", n_steps: int = 0) -> Stepper:
    """For acting: a function that runs one step without gradient and changes ``state`` in place.

    The function takes inputs (B, I) and optionally episode starts (B,), and gives outputs (B, N).
    It is made for many steps with the same weights: make another one when they have changed.

    Args:
        cell: any cell.
        state: the cell's state before the first step, and after each.
        backend: as in ``sequence``.
        n_steps: how many steps to remember for ``sequence``, where the backend can; the memory
            taken is that of a ``sequence`` of so many. Changes that torch does not count, through
            ``state.trace.data`` or its array, must not happen in between.

    Raises:
        ValueError: for a shape that does not fit, an unknown backend, or a negative ``n_steps``.
    """
    return Stepper(cell, state, backend, n_steps)


def _known(memory: Any) -> dict[str, Any]:
    """As an argument, for the backends that have a memory."""
    return {} if memory is None else {"memory": memory}


def _starts(episode_starts: Tensor | None, inputs: Tensor) -> Tensor | None:
    """Episode starts as booleans, like the inputs without their last axis."""
    if episode_starts is None:
        return None
    if episode_starts.shape != inputs.shape[:-1]:
        raise ValueError(
            f"episode_starts must be {tuple(inputs.shape[:-1])} like the inputs, "
            f"not {tuple(episode_starts.shape)}"
        )
    return episode_starts if episode_starts.dtype is torch.bool else episode_starts.bool()
