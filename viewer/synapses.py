"""The plastic connection during an episode, made small for a file by pooling and rounding.

    recurrent weights at t = weight + change(t)        change = alpha * trace, entry by entry

A matrix larger than 64 x 64 is pooled: square blocks are replaced by their means. Pooling is
linear, so the pooled weight plus the pooled change is the pooled sum. The product of pooled alpha
and pooled trace is not the pooled product, which is why the change is stored as well.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIMIT = 64
"""The most rows and columns of a stored matrix."""
_LEVELS = 127
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Quantized:
    """Matrices as bytes: value = scale * level / 127, off by at most scale / 254.

    Attributes:
        levels: int8 (T, h, w), from -127 to 127.
        scale: the largest absolute value; 1 where all are zero.
    """

    levels: NDArray[np.int8]
    scale: float

    @classmethod
    def of(cls, matrices: NDArray[np.floating]) -> "Quantized":
        """Round ``matrices`` (T, h, w) to the nearest levels."""
        scale = float(np.abs(matrices).max()) or 1.0
        # Division comes first, since the inverse of a very small scale is infinite.
        return cls(np.rint(matrices / scale * _LEVELS).astype(np.int8), scale)

    def __len__(self) -> int:
        return len(self.levels)

    def shares(self, step: int) -> NDArray[np.float32]:
        """Return the matrix (h, w) of one step divided by the scale, from -1 to 1."""
        shares: NDArray[np.float32] = self.levels[step] / np.float32(_LEVELS)
        return shares

    def at(self, step: int) -> NDArray[np.float32]:
        """Return the matrix (h, w) of one step."""
        return self.shares(step) * np.float32(self.scale)


@dataclass(frozen=True, eq=False)
class Synapses:
    """A plastic connection after each of T steps. Matrices are (post, pre) and pooled.

    Attributes:
        trace: the Hebbian trace.
        change: ``alpha * trace``, what the trace adds to the weight.
        weight: float32 (h, w), the same at every step.
        alpha: float32 (h, w), the plasticity coefficients.
        shape: (post, pre) before pooling.
        block: side of a pooled block in entries; 1 without pooling.
        trace_abs_mean: (T,), mean ``|trace|`` over all entries.
        trace_saturation: (T,), share of the entries at the trace's bound; None without a bound.
        eta: the trained plasticity rate; None if a neuromodulator takes its place.

    Raises:
        ValueError: a field has the wrong type or shape, or is not finite.
    """

    trace: Quantized
    change: Quantized
    weight: NDArray[np.float32]
    alpha: NDArray[np.float32]
    shape: tuple[int, int]
    block: int
    trace_abs_mean: NDArray[np.floating]
    trace_saturation: NDArray[np.floating] | None
    eta: float | None

    def __post_init__(self) -> None:
        pooled = tuple(-(-size // self.block) for size in self.shape) if self.block > 0 else ()
        if len(pooled) != 2 or not 0 < min(pooled) <= max(pooled) <= LIMIT:
            raise ValueError(
                f"{self.shape} in blocks of {self.block} must be matrices of at most "
                f"{LIMIT} x {LIMIT}"
            )
        if self.trace.levels.ndim != 3:
            raise ValueError(f"trace levels must be (T, h, w), not {self.trace.levels.shape}")
        n_steps = len(self.trace)
        for name in ("trace", "change"):
            quantized: Quantized = getattr(self, name)
            _check(f"{name} levels", quantized.levels, "i1", (n_steps, *pooled))
            if quantized.levels.size and quantized.levels.min() < -_LEVELS:
                raise ValueError(f"{name} levels must be from -{_LEVELS} to {_LEVELS}")
            if not 0 < quantized.scale <= _LARGEST:
                raise ValueError(f"{name} scale must be a size in float32, not {quantized.scale}")
        _check("weight", self.weight, "f4", pooled)
        _check("alpha", self.alpha, "f4", pooled)
        _check("trace_abs_mean", self.trace_abs_mean, "f8", (n_steps,))
        if self.trace_saturation is not None:
            _check("trace_saturation", self.trace_saturation, "f8", (n_steps,))
        if self.eta is not None and not np.isfinite(self.eta):
            raise ValueError(f"eta must be a finite number, not {self.eta}")

    @property
    def pooling(self) -> str:
        """A label such as ``pooled 2 x 2``; empty without pooling."""
        return f"pooled {self.block} x {self.block}" if self.block > 1 else ""


class SynapseRecorder:
    """Collects the traces of an episode one by one and keeps them pooled.

    Args:
        weight: (post, pre).
        alpha: (post, pre), (post, 1) or (1, 1).
        bound: the trace's largest absolute value; None if it has no bound.
        eta: the trained plasticity rate, if there is one.
    """

    def __init__(
        self,
        weight: NDArray[np.floating],
        alpha: NDArray[np.floating],
        bound: float | None,
        eta: float | None,
    ) -> None:
        self.weight, self.bound, self.eta = weight, bound, eta
        self.alpha = np.broadcast_to(alpha, weight.shape)
        self.block = -(-max(weight.shape) // LIMIT)
        self.traces: list[NDArray[np.float32]] = []
        self.changes: list[NDArray[np.float32]] = []
        self.abs_means: list[float] = []
        self.saturations: list[float] = []

    def add(self, trace: NDArray[np.floating]) -> None:
        """Add the trace (post, pre) after a step."""
        self.traces.append(pool(trace, self.block))
        self.changes.append(pool(self.alpha * trace, self.block))
        size = np.abs(trace)
        self.abs_means.append(float(size.mean(dtype=np.float64)))
        if self.bound is not None:
            self.saturations.append(float((size >= self.bound).mean()))

    def synapses(self) -> Synapses:
        """Return what was collected from at least one step."""
        post, pre = self.weight.shape
        return Synapses(
            trace=Quantized.of(np.stack(self.traces)),
            change=Quantized.of(np.stack(self.changes)),
            weight=pool(self.weight, self.block),
            alpha=pool(self.alpha, self.block),
            shape=(post, pre),
            block=self.block,
            trace_abs_mean=np.array(self.abs_means),
            trace_saturation=None if self.bound is None else np.array(self.saturations),
            eta=self.eta,
        )


def pool(matrix: NDArray[np.floating], block: int) -> NDArray[np.float32]:
    """Average over square blocks of ``matrix`` (h, w); those at the far edges may be smaller."""
    pooled = np.asarray(matrix, dtype=np.float64)
    for axis in (0, 1):
        starts = np.arange(0, pooled.shape[axis], block)
        lengths = np.diff(starts, append=pooled.shape[axis])
        sums = np.add.reduceat(pooled, starts, axis=axis)
        pooled = sums / (lengths[:, None] if axis == 0 else lengths)
    return pooled.astype(np.float32)


def _check(name: str, array: NDArray[Any], dtype: str, shape: tuple[int, ...]) -> None:
    if array.dtype != np.dtype(dtype) or array.shape != shape:
        raise ValueError(
            f"{name} must be {np.dtype(dtype)} {shape}, not {array.dtype} {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must hold finite numbers")
