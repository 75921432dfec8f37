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

``fused`` defines T, B, N and G (``segment_length``). Each of the S nets has the same number of
consecutive rows, R = B / S (``net_rows``). P is the number of programs of the backward pass, of
which each net has Q = P / S; its program q takes the rows q, q + Q, q + 2 Q ... of the net. The
arguments are the tuples of
``plastic_net``: their tensors are contiguous, masks and starts are bytes, and a parameter that the
net does not have is None. Checkpoints are (T / G, B, N, N), recomputed traces (P, G, N, N). N is
a constant of the compiled kernel, so that addresses are constants and do not occupy registers.

Several threads of a program may hold the same number, of which only one writes it to memory.
Therefore a barrier is needed between a write and a read of the same memory, and also between a read
and a write.
"""

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

SIZES = ["n_steps", "n_rows", "net_rows", "segment_length"]  # one compilation serves all values


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
    """The parameters of a ``PlasticNet``; ``eta`` has shape (S, 1) and ``clip`` (1,)."""

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


class Part(NamedTuple):
    """A part of a vector (N,) or of a matrix (N, N), whose size is N or N^2."""

    offsets: tl.tensor
    exists: tl.tensor
    """Whether each offset lies within the vector or matrix."""
    size: int


@triton.jit
def _net_of(nets, number, kind: tl.constexpr):
    """Return the parameters of one of the S nets."""
    n = kind.n
    weight = nets.modulator_weight
    bias = nets.modulator_bias
    fan_out_weight = nets.fan_out_weight
    fan_out_bias = nets.fan_out_bias
    return Net(
        nets.weight + number * n * n,
        nets.alpha + number * n * n,
        nets.eta + number,
        nets.clip,
        weight if weight is None else weight + number * n,
        bias if bias is None else bias + number,
        fan_out_weight if fan_out_weight is None else fan_out_weight + number * n,
        fan_out_bias if fan_out_bias is None else fan_out_bias + number * n,
    )


@triton.jit
def _neurons(indices, kind: tl.constexpr):
    """Return the part of a vector that belongs to the neurons with these indices."""
    return Part(indices, indices < kind.n, kind.n)


@triton.jit
def _tile(rows, columns, kind: tl.constexpr):
    """Return the part of a matrix from the neurons ``columns`` to the target neurons ``rows``."""
    offsets = rows.offsets[:, None] * kind.n + columns.offsets[None, :]
    return Part(offsets, rows.exists[:, None] & columns.exists[None, :], kind.n * kind.n)


@triton.jit
def _only_if(condition, part):
    """Return the same part, none of which exists unless the condition is true."""
    return Part(part.offsets, part.exists & condition, part.size)


@triton.jit
def _load(tensor, index, part):
    """Load a part of the vector or matrix with this index in a tensor."""
    return tl.load(tensor + index * part.size + part.offsets, part.exists, other=0)


@triton.jit
def _store(tensor, index, part, values):
    """Store a part of the vector or matrix with this index in a tensor."""
    tl.store(tensor + index * part.size + part.offsets, values, part.exists)


@triton.jit
def _load_traces(traces, index, tile, kind: tl.constexpr):
    """Load a tile of H and E, from the matrix with this index; not retroactive: E is H."""
    h = _load(traces.trace, index, tile)
    e = h
    if kind.retroactive:
        e = _load(traces.eligibility, index, tile)
    return h, e


@triton.jit
def _store_traces(traces, index, tile, h, e, kind: tl.constexpr):
    """Store a tile of H and E in the matrix with this index."""
    _store(traces.trace, index, tile, h)
    if kind.retroactive:
        _store(traces.eligibility, index, tile, e)


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
def _modulation(post, net, eta, columns, kind: tl.constexpr):
    """Return the neuromodulator's output M, or eta without one, from the activity (block,)."""
    if kind.activation == "none":
        m = eta
    else:
        m = tl.sum(post * _load(net.modulator_weight, 0, columns), 0) + tl.load(net.modulator_bias)
        if kind.activation == "tanh":
            m = _tanh(m)
        elif kind.activation == "sigmoid":
            m = 1 / (1 + tl.exp(-m))
    return m


@triton.jit
def _rates(post, m, net, rows):
    """Return the rates r of the target neurons ``rows``, whose activity is ``post``."""
    if net.fan_out_weight is None:
        rates = tl.zeros_like(post) + m
    else:
        rates = _load(net.fan_out_weight, 0, rows) * m + _load(net.fan_out_bias, 0, rows)
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
    return h + d - tl.abs(d) * h if kind.soft else h + d


@triton.jit
def _change(h, e, pre, post, r, kind: tl.constexpr):
    """Return the leaks c, the increment D, and the change d of the trace."""
    c = _leaks(post, kind)
    increment = post[:, None] * pre[None, :] - c[:, None] * h
    d = r[:, None] * (e if kind.retroactive else increment)
    return c, increment, d


@triton.jit
def _updated(h, e, pre, post, r, eta, clip, kind: tl.constexpr):
    """Return H and E after an update, from the target neurons' activity ``post`` and rates r."""
    _, increment, d = _change(h, e, pre, post, r, kind)
    if kind.retroactive:
        e = e + eta * (increment - e)
    h = _moved(h, d, kind)
    h = tl.where(h > clip, clip, tl.where(h < -clip, -clip, h))  # NaN stays NaN
    return h, e
