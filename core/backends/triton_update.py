"""Functions that the Triton kernels share: the update of a tile of a trace, and others.

For the connection from neuron i to neuron j, let H be the trace, pre_i and post_j the activities
before and after the step, and r_j the rate. Let c_j be the leak: 0 for Hebb's rule, post_j^2 for
Oja's rule, and 1 for Hebb's rule with the decay bound. Then every combination of a rule and a bound
is one of two updates:

    increment     D[j, i] = post_j pre_i - c_j H[j, i]
    linear        H <- clamp( H + d, -clip, clip ),         d = r_j D       clip = inf: no bound
    soft          H <- clamp( H + d - |d| H, -1, 1 )

With retroactive modulation, d = r_j E for the eligibility trace E, and then E <- E + eta (D - E).

``triton_forward`` and ``triton_backward`` each have two kernels. A program of a kernel computes one
batch row at a time. ``on_chip`` holds the row's trace in registers for the whole sequence, as one
tile of block x block numbers (see ``Kind``), so that a step reads only the weights, alpha and
vectors from memory. ``tiled`` is for more neurons: the trace stays in memory, and each step
processes it in tiles of rows x block numbers. Masks exclude the part of a tile beyond N neurons.

``fused`` defines T, B, N and G (``segment_length``). P (``program_count``) is the number of
programs of the backward pass; program p takes the rows p, p + P, p + 2 P ... The arguments are
tuples like those of ``plastic_net``: their tensors are contiguous, masks and starts are bytes, and
a missing parameter is None. Checkpoints are (T / G, B, N, N), recomputed traces (P, G, N, N). N is
a constant of the compiled kernel, so that address offsets are constants and occupy no registers.

Several threads of a program may hold the same number, of which only one writes it to memory.
Therefore a barrier is needed between a write and a read of the same memory, and also between a read
and a write.
"""

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

SIZES = ["n_steps", "n_rows", "segment_length", "program_count"]
"""The arguments for whose values Triton must not compile a kernel again."""


class Kind(NamedTuple):
    """The properties of a net that are constants in its compiled kernels."""

    soft: bool
    retroactive: bool
    leak: str
    """"hebb", "oja" or "decay"."""
    activation: str
    """The neuromodulator's activation, or "none" without a neuromodulator."""
    n: int
    """N"""
    block: int
    """The width of a tile: N rounded up to a power of two."""
    rows: int | None
    """The number of target neurons in a tile; None for the kernel ``on_chip``."""


class Net(NamedTuple):
    """The parameters of a ``PlasticNet``; ``eta`` and ``clip`` have shape (1,)."""

    weight: Tensor
    alpha: Tensor
    eta: Tensor
    clip: Tensor
    modulator_weight: Tensor | None
    modulator_bias: Tensor | None
    fan_out_weight: Tensor | None
    fan_out_bias: Tensor | None


class Traces(NamedTuple):
    """Traces and eligibility traces (..., N, N), or None."""

    trace: Tensor | None
    eligibility: Tensor | None


@triton.jit
def _tile(rows, columns, kind: tl.constexpr):
    """Return the offsets of a tile's connections in a matrix (N, N), and the tile's mask."""
    tile_mask = (rows < kind.n)[:, None] & (columns < kind.n)[None, :]
    return rows[:, None] * kind.n + columns[None, :], tile_mask


@triton.jit
def _load_traces(traces, index, tile, tile_mask, kind: tl.constexpr):
    """Load a tile of H and E from the matrix with this index; E is H if it does not exist."""
    at = index * kind.n * kind.n
    h = tl.load(traces.trace + at + tile, tile_mask, other=0)
    e = h
    if kind.retroactive:
        e = tl.load(traces.eligibility + at + tile, tile_mask, other=0)
    return h, e


@triton.jit
def _store_traces(traces, index, tile, tile_mask, h, e, kind: tl.constexpr):
    """Store a tile of H and E to the matrix with this index."""
    at = index * kind.n * kind.n
    tl.store(traces.trace + at + tile, h, tile_mask)
    if kind.retroactive:
        tl.store(traces.eligibility + at + tile, e, tile_mask)


@triton.jit
def _restarted(started, h, e, kind: tl.constexpr):
    """Return H and E, or zeros if an episode starts."""
    h = tl.where(started, 0, h)
    if kind.retroactive:
        e = tl.where(started, 0, e)
    return h, e


@triton.jit
def _tanh(x):
    """Return tanh(x); for small x, as the continued fraction x / (1 + x^2 / (3 + ...))."""
    y = x * x
    small = x / (1 + y / (3 + y / (5 + y / (7 + y / (9 + y / 11)))))
    e = tl.exp(-2 * tl.abs(x))
    large = (1 - e) / (1 + e)
    return tl.where(tl.abs(x) < 0.25, small, tl.where(x < 0, -large, large))


@triton.jit
def _modulation(post, net, columns, kind: tl.constexpr):
    """Return the neuromodulator's output M, from the activity (block,)."""
    weight = tl.load(net.modulator_weight + columns, columns < kind.n, other=0)
    total = tl.sum(post * weight, 0) + tl.load(net.modulator_bias)
    if kind.activation == "tanh":
        total = _tanh(total)
    elif kind.activation == "sigmoid":
        total = 1 / (1 + tl.exp(-total))
    return total


@triton.jit
def _rates(post, m, net, eta, rows, kind: tl.constexpr):
    """Return the rates r of the target neurons ``rows``, whose activity is ``post``."""
    if kind.activation == "none":
        rates = tl.zeros_like(post) + eta
    elif net.fan_out_weight is None:
        rates = tl.zeros_like(post) + m
    else:
        f = tl.load(net.fan_out_weight + rows, rows < kind.n, other=0)
        rates = f * m + tl.load(net.fan_out_bias + rows, rows < kind.n, other=0)
    return rates


@triton.jit
def _leaks(post, kind: tl.constexpr):
    """Return the leaks c of target neurons, from their activity."""
    if kind.leak == "oja":
        leaks = post * post
    elif kind.leak == "decay":
        leaks = tl.zeros_like(post) + 1
    else:
        leaks = tl.zeros_like(post)
    return leaks


@triton.jit
def _moved(h, d, kind: tl.constexpr):
    """Return the trace after a change d, before it is clipped."""
    if kind.soft:
        h = h + d - tl.abs(d) * h
    else:
        h = h + d
    return h


@triton.jit
def _updated(h, e, pre, post, r, eta, clip, kind: tl.constexpr):
    """Return a tile of H and E after an update, from the target neurons' activity and rates."""
    c = _leaks(post, kind)
    increment = post[:, None] * pre[None, :] - c[:, None] * h
    if kind.retroactive:
        d = r[:, None] * e
        e = e + eta * (increment - e)
    else:
        d = r[:, None] * increment
    h = _moved(h, d, kind)
    h = tl.where(h > clip, clip, tl.where(h < -clip, -clip, h))  # NaN stays NaN
    return h, e
