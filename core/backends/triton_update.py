"""What the Triton loops share: the update of a tile of a trace, and vectors of neurons.

Every rule and bound is one of two updates, with a leak c per target neuron (c = 0 for Hebb,
x_j^2 for Oja; a decaying trace is Hebb with c = 1):

    increment     D[j, i] = x_j(t) x_i(t-1) - c_j H[j, i]
    linear        H <- clamp( H + d, -clip, clip ),         d = r_j D       clip = inf: no bound
    soft          H <- clamp( H + d - |d| H, -1, 1 )

Under retroactive modulation d = r_j E, and then E <- E + eta (D - E).

The passes are in ``triton_forward`` and ``triton_backward``, one program per batch row. ``on_chip``
holds a row's trace in registers, as one (BLOCK, BLOCK) tile, for the whole sequence; a step reads
only weights, alpha and vectors from memory. ``tiled``, for more neurons, passes over a trace in
memory, (ROWS, BLOCK) at a time. Tiles are masked to N neurons.

Names: B rows, T steps, N neurons, G steps between checkpoints (``spacing``), P programs of the
backward pass (``sharing``), which take the rows p, p + P, p + 2 P ... The kernels get the tuples
of ``plastic_net`` with tensors that are contiguous, masks and starts as bytes, and None where the
net has no such parameter. Checkpoints are (T / G, B, N, N), recomputed traces (P, G, N, N). N is
known at compilation, so that addresses are constants and leave the registers to the tiles.

Several threads may hold the same number, and only one of them writes it. So a barrier is needed
between writing and reading, and also between reading and overwriting.
"""

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

SIZES = ["n_steps", "n_rows", "spacing", "sharing"]  # one compilation for all of them


class Kind(NamedTuple):
    """What is known of a net when its kernels are compiled."""

    soft: bool
    retroactive: bool
    leak: str
    """"hebb", "oja" or "decay"."""
    activation: str
    """The modulator's, or "none" without a modulator."""
    n: int
    """N"""
    block: int
    """The power of two that N is rounded up to."""
    rows: int | None
    """Target neurons in a tile; None where the whole trace is on chip."""


class Net(NamedTuple):
    """The parameters in ``PlasticNet``; ``eta`` and ``clip`` are one number each."""

    weight: Tensor
    alpha: Tensor
    eta: Tensor
    clip: Tensor
    modulator_weight: Tensor | None
    modulator_bias: Tensor | None
    fan_out_weight: Tensor | None
    fan_out_bias: Tensor | None


class Traces(NamedTuple):
    """Any number of traces (..., N, N), and eligibility traces where there are any."""

    trace: Tensor | None
    eligibility: Tensor | None


@triton.jit
def _tile(rows, columns, kind: tl.constexpr):
    """The places in a matrix of the connections to ``rows``, and which of them exist."""
    within = (rows < kind.n)[:, None] & (columns < kind.n)[None, :]
    return rows[:, None] * kind.n + columns[None, :], within


@triton.jit
def _load_traces(traces, index, tile, within, kind: tl.constexpr):
    """A tile of H and E of the trace with this index; without eligibility, E is H."""
    at = index * kind.n * kind.n
    h = tl.load(traces.trace + at + tile, within, other=0)
    e = h
    if kind.retroactive:
        e = tl.load(traces.eligibility + at + tile, within, other=0)
    return h, e


@triton.jit
def _store_traces(traces, index, tile, within, h, e, kind: tl.constexpr):
    """The reverse of ``_load_traces``."""
    at = index * kind.n * kind.n
    tl.store(traces.trace + at + tile, h, within)
    if kind.retroactive:
        tl.store(traces.eligibility + at + tile, e, within)


@triton.jit
def _restarted(started, h, e, kind: tl.constexpr):
    """H and E, zero where an episode has started."""
    h = tl.where(started, 0, h)
    if kind.retroactive:
        e = tl.where(started, 0, e)
    return h, e


@triton.jit
def _tanh(x):
    """By the continued fraction x / (1 + x^2 / (3 + x^2 / ...)) where x is small, else by exp."""
    y = x * x
    small = x / (1 + y / (3 + y / (5 + y / (7 + y / (9 + y / 11)))))
    e = tl.exp(-2 * tl.abs(x))
    large = (1 - e) / (1 + e)
    return tl.where(tl.abs(x) < 0.25, small, tl.where(x < 0, -large, large))


@triton.jit
def _modulation(post, net, columns, kind: tl.constexpr):
    """M, from the activity (BLOCK,)."""
    weight = tl.load(net.modulator_weight + columns, columns < kind.n, other=0)
    total = tl.sum(post * weight, 0) + tl.load(net.modulator_bias)
    if kind.activation == "tanh":
        total = _tanh(total)
    elif kind.activation == "sigmoid":
        total = 1 / (1 + tl.exp(-total))
    return total


@triton.jit
def _rates(post, m, net, eta, rows, kind: tl.constexpr):
    """The rates r of the target neurons ``rows``, like their activity."""
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
    """The leaks c of target neurons with this activity."""
    if kind.leak == "oja":
        leaks = post * post
    elif kind.leak == "decay":
        leaks = tl.zeros_like(post) + 1
    else:
        leaks = tl.zeros_like(post)
    return leaks


@triton.jit
def _moved(h, d, kind: tl.constexpr):
    """The trace after a change d, not yet clipped."""
    if kind.soft:
        h = h + d - tl.abs(d) * h
    else:
        h = h + d
    return h


@triton.jit
def _updated(h, e, pre, post, r, eta, clip, kind: tl.constexpr):
    """H and E of the target neurons with these ``post`` and r after the update of a step."""
    c = _leaks(post, kind)
    increment = post[:, None] * pre[None, :] - c[:, None] * h
    if kind.retroactive:
        d = r[:, None] * e
        e = e + eta * (increment - e)
    else:
        d = r[:, None] * increment
    h = _moved(h, d, kind)
    h = tl.where(h > clip, clip, tl.where(h < -clip, -clip, h))  # NaN stays
    return h, e
