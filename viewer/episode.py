"""What is recorded of an episode, whoever shows it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class EpisodeTrace:
    """One episode of T >= 1 steps. Entry t of every field belongs to step t.

    Attributes:
        title: one line.
        frames: uint8 (T, height, width, 3), what the agent saw before acting.
        texts: T texts, the same as `ansi` rendering; may hold terminal escape codes.
        actions: (T, ...).
        rewards: (T,), what the action earned.
        values: (T,), the critic's estimates.
        modulation: (T,), the neuromodulator's signal, mean over the neurons.
        trace: (T, out, in), the Hebbian trace after the step.

    Raises:
        ValueError: a field has the wrong type, shape or length, or is not finite.
    """

    title: str
    frames: NDArray[np.uint8] | None
    texts: tuple[str, ...] | None
    actions: NDArray[Any]
    rewards: NDArray[np.floating]
    values: NDArray[np.floating] | None
    modulation: NDArray[np.floating] | None
    trace: NDArray[np.float32] | None

    def __post_init__(self) -> None:
        if np.ndim(self.rewards) != 1 or len(self.rewards) == 0:
            raise ValueError(f"rewards must be (T,) with T >= 1, not {np.shape(self.rewards)}")
        if np.ndim(self.actions) == 0 or len(self.actions) != self.n_steps:
            raise ValueError(
                f"actions must be ({self.n_steps}, ...) as rewards are, "
                f"not {np.shape(self.actions)}"
            )
        if self.texts is not None and len(self.texts) != self.n_steps:
            raise ValueError(f"texts must be {self.n_steps}, not {len(self.texts)}")
        self._check_frames()
        for name, n_axes in (("rewards", 1), ("values", 1), ("modulation", 1), ("trace", 3)):
            self._check_numbers(name, n_axes)

    @property
    def n_steps(self) -> int:
        return len(self.rewards)

    def pooled_trace(self, limit: int = 64) -> NDArray[np.float32] | None:
        """The trace with each matrix at most `limit` x `limit`, averaged over square blocks.

        Blocks at the far edges may be cut short. A trace that fits already is returned as it is.
        """
        if self.trace is None:
            return None
        factor = -(-max(self.trace.shape[1:]) // limit)
        return self.trace if factor == 1 else _pool(_pool(self.trace, factor, 1), factor, 2)

    def _check_frames(self) -> None:
        if self.frames is None:
            return
        shape = self.frames.shape
        expected = len(shape) == 4 and shape[0] == self.n_steps and shape[3] == 3 and all(shape)
        if self.frames.dtype != np.uint8 or not expected:
            raise ValueError(
                f"frames must be uint8 ({self.n_steps}, height, width, 3), "
                f"not {self.frames.dtype} {shape}"
            )

    def _check_numbers(self, name: str, n_axes: int) -> None:
        array: NDArray[Any] | None = getattr(self, name)
        if array is None:
            return
        if array.ndim != n_axes or len(array) != self.n_steps or array.size == 0:
            expected = f"({self.n_steps},)" if n_axes == 1 else f"({self.n_steps}, out, in)"
            raise ValueError(f"{name} must be {expected}, not {array.shape}")
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ValueError(f"{name} must hold finite numbers")


def _pool(array: NDArray[np.float32], factor: int, axis: int) -> NDArray[np.float32]:
    """Means over runs of `factor` entries along `axis`; the last run may be shorter."""
    starts = np.arange(0, array.shape[axis], factor)
    lengths = np.diff(starts, append=array.shape[axis])
    shape = [1] * array.ndim
    shape[axis] = -1
    means = np.add.reduceat(array, starts, axis=axis) / lengths.reshape(shape)
    return means.astype(np.float32)
