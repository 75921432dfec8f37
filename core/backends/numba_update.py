"""What the numba loops share: the update of one connection, its reverse, and vectors of neurons.

Every rule and bound is one of two updates, with a leak c per target neuron (c = 0 for Hebb,
x_j^2 for Oja; a decaying trace is Hebb with c = 1):

    increment     D[j, i] = x_j(t) x_i(t-1) - c_j H[j, i]
    linear        H <- clamp( H + r_j D, -clip, clip )              clip = inf: no bound
    soft          H <- clamp( H + d - |d| H, -1, 1 ),  d = r_j D

Under retroactive modulation D feeds the eligibility trace E, and E takes D's place above.

The loops over rows and steps are in ``numba_step``, ``numba_forward`` and ``numba_backward``. They
see matrices padded with zeros to a multiple of ``PAD`` columns and ``TOGETHER`` rows, so that loops
over several neurons at a time have no remainder; only the step's matrices are not padded.
Names: B rows, T steps, N neurons, P padded width, G steps between checkpoints; H trace, E
eligibility trace; ``g_x`` or ``gH`` is the gradient of the loss with respect to x or H.

Functions with an argument ``kind`` are inlined into the loops, where it is a constant. They are no
closures, because numba gives a closure a random name in the key of its cache and would compile the
loops anew in every process. Their arguments are not unpacked by a star, which would keep the loops
from being vectorized (four times slower, measured).
"""

import math
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import overload

from plasticrl.core.numba_cache import CAN_CACHE

PAD = 8
TOGETHER = 4
TANH, SIGMOID, LINEAR = 0, 1, 2
NO_MODULATION = -1

# Sums may be reordered. NaN and infinity must not be assumed away: a row that has diverged has to
# show it.
JIT = {
    "nogil": True,
    "cache": CAN_CACHE,
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
    "error_model": "numpy",
}
# The kernels own all arrays. Otherwise numba would also count the references to each array that an
# inlined function takes out of a tuple, which costs a tenth of the time at N = 100 (measured).
INLINED = {**JIT, "forceinline": True, "_nrt": False}


def fingerprint(folder: Path = Path(__file__).parent) -> int:
    """A number that changes with the text of the files of loops.

    numba's cache on disk compiles a function anew when its own file changes, but not when a
    function that it calls changes in another file. Every cached kernel therefore has this number as
    a constant, which is part of the cache's key.
    """
    texts = [path.read_bytes() for path in sorted(folder.glob("numba_*.py"))]
    return zlib.crc32(b"".join(texts))


class Kind(NamedTuple):
    """What is known of an update when it is compiled."""

    soft: bool
    retroactive: bool
    leaks: bool
    """Whether c can be other than zero."""
    fingerprint: int = fingerprint()


class Parameters(NamedTuple):
    """A plastic net's parameters; (0,) where one is missing."""

    weight: np.ndarray
    alpha: np.ndarray
    modulator_weight: np.ndarray
    """(N,)"""
    modulator_bias: np.ndarray
    """(1,)"""
    fan_out_weight: np.ndarray
    """(N,)"""
    fan_out_bias: np.ndarray
    """(N,)"""


class Options(NamedTuple):
    """Numbers of the arrays' type, but for the activation."""

    clip: np.floating
    """The trace's limit."""
    decay: np.floating
    """1 if the trace decays, else 0."""
    oja: np.floating
    """1 for Oja's rule, else 0."""
    eta: np.floating
    activation: int
    """Of the modulator, or ``NO_MODULATION``."""


class State(NamedTuple):
    """hidden (B, N), trace and eligibility (B, N, N); (0, 0, 0) without eligibility."""

    hidden: np.ndarray
    trace: np.ndarray
    eligibility: np.ndarray


# tanh(x) = x p(x^2) / q(x^2) for |x| < 9.02, beyond which it is 1 in single precision. Fitted by
# iteratively reweighted least squares; relative error 2e-8 before rounding.
_LIMIT = 9.02
_P = (
    0.9999999790515017,
    0.13379769981765519,
    0.0034940951132769638,
    2.0584420710608222e-05,
    1.3320253686296876e-08,
)
_Q = (
    1.0,
    0.4671308525927905,
    0.02587130689914441,
    0.00032831894929423894,
    7.762529153506717e-07,
)


def tanh(values, n):
    """The first n of ``values`` become their tanh, in place."""


@overload(tanh)
def _tanh_overload(values, n):
    if values.dtype is not types.float32:

        def exact(values, n):
            for i in range(n):
                values[i] = math.tanh(values[i])

        return exact

    limit, one = np.float32(_LIMIT), np.float32(1)
    p0, p1, p2, p3, p4 = (np.float32(c) for c in _P)
    q0, q1, q2, q3, q4 = (np.float32(c) for c in _Q)

    def rational(values, n):
        for i in range(n):
            x = min(max(values[i], -limit), limit)
            y = x * x
            p = p0 + y * (p1 + y * (p2 + y * (p3 + y * p4)))
            q = q0 + y * (q1 + y * (q2 + y * (q3 + y * q4)))
            values[i] = min(max(x * p / q, -one), one)

    return rational


@njit(**JIT)
def tanh_(values):
    """tanh of an array (n,), in place, as the loops compute it."""
    tanh(values, len(values))


@njit(**JIT)
def copy(to, source, n):
    """Copy the first n numbers, in a loop: the assignment of a slice is not vectorized."""
    for i in range(n):
        to[i] = source[i]


@njit(**JIT)
def copy_rows(to, source, rows, n):
    """The first n numbers of the first rows, likewise."""
    for j in range(rows):
        copy(to[j], source[j], n)


@njit(**JIT)
def fill(to, value, n):
    """The first n numbers become ``value``."""
    for i in range(n):
        to[i] = value


@njit(**INLINED)
def modulation_of(post, n, parameters, options):
    """The modulation M, or eta without a modulator."""
    if options.activation == NO_MODULATION:
        return options.eta
    total = parameters.modulator_bias[0]
    for j in range(n):
        total += parameters.modulator_weight[j] * post[j]
    value = float(total)
    if options.activation == TANH:
        value = math.tanh(value)
    elif options.activation == SIGMOID:
        value = 1.0 / (1.0 + math.exp(-value))
    return post.dtype.type(value)


@njit(**INLINED)
def set_rates(rate, leak, post, modulation, n, parameters, options):
    """Rate r and leak c of every target neuron, from its activity and the modulation."""
    weight, bias = parameters.fan_out_weight, parameters.fan_out_bias
    if weight.size == 0:
        fill(rate, modulation, n)
    for j in range(weight.size):
        rate[j] = weight[j] * modulation + bias[j]
    for j in range(n):
        leak[j] = options.decay + options.oja * post[j] * post[j]


@njit(**INLINED)
def load_before(pre, x, hidden, starts, t, b, n):
    """``pre`` becomes the activity before step t: zero where an episode starts."""
    if starts[t, b]:
        fill(pre, 0, n)
    elif t == 0:
        copy(pre, hidden[b], n)
    else:
        copy(pre, x[t - 1, b], n)


@njit(**JIT)
def products(total, parameters, trace, pre, n):
    """total_j = sum_i (w_ji + alpha_ji H_ji) pre_i, for n neurons.

    A sum is a chain of additions that ends in a slow one across the vector, so four neurons are
    summed at a time. They lie a quarter of the net apart, so that the compiler can tell that what
    is stored for one is not what is loaded for another. The last may be summed more than once.
    """
    weight, alpha = parameters.weight, parameters.alpha
    quarter = (n + TOGETHER - 1) // TOGETHER
    zero = weight.dtype.type(0)
    for j in range(quarter):
        j1 = min(j + quarter, n - 1)
        j2 = min(j + 2 * quarter, n - 1)
        j3 = min(j + 3 * quarter, n - 1)
        sum0, sum1, sum2, sum3 = zero, zero, zero, zero
        for i in range(trace.shape[1]):
            x = pre[i]
            sum0 += (weight[j, i] + alpha[j, i] * trace[j, i]) * x
            sum1 += (weight[j1, i] + alpha[j1, i] * trace[j1, i]) * x
            sum2 += (weight[j2, i] + alpha[j2, i] * trace[j2, i]) * x
            sum3 += (weight[j3, i] + alpha[j3, i] * trace[j3, i]) * x
        total[j], total[j1], total[j2], total[j3] = sum0, sum1, sum2, sum3


@njit(**JIT)
def _less(value, leak, leaks):
    """value - leak, where anything leaks."""
    return value - leak if leaks else value


@njit(**JIT)
def _moved(h, d, soft):
    """The trace h after a change by d, not yet clipped."""
    return h + d - abs(d) * h if soft else h + d


@njit(**JIT)
def _clipped(h, clip):
    return min(max(h, -clip), clip)


@njit(**INLINED)
def update(kind, old, old_e, new, new_e, j, i, post, rate, leak, pre, options):
    """Update the connection from neuron i to j; returns its trace.

    ``old`` and ``old_e`` are H and E before, ``new`` and ``new_e`` after; they may be the same.
    """
    h = old[j, i]
    if kind.retroactive:
        e = old_e[j, i]
        d = rate * e
        new_e[j, i] = e + options.eta * (_less(post * pre, leak * h, kind.leaks) - e)
    else:
        d = _less(rate * post * pre, rate * leak * h, kind.leaks)
    h = _clipped(_moved(h, d, kind.soft), options.clip)
    new[j, i] = h
    return h


@njit(**INLINED)
def change(kind, h, e, post, rate, leak, pre, options):
    """Of ``update`` once more: the change d, and the trace before and after clipping."""
    if kind.retroactive:
        d = rate * e
    else:
        d = _less(rate * post * pre, rate * leak * h, kind.leaks)
    moved = _moved(h, d, kind.soft)
    return d, moved, _clipped(moved, options.clip)


@njit(**INLINED)
def update_reverse(kind, h, e, d, g, g_e, post, rate, leak, pre, eta, zero, one):
    """The gradients of what ``update`` reads.

    ``g`` is the gradient of the trace before clipping, ``g_e`` that of the new eligibility.

    Returns:
        The gradients of H, E and ``pre``; and the connection's part in the sums of its target
        neuron, which are the gradients of rate and eta and that of D times ``pre`` and times H.
    """
    if kind.soft:
        slope = h if d > zero else (-h if d < zero else zero)
        g_d = g * (one - slope)
        g = g * (one - abs(d))
    else:
        g_d = g
    if not kind.retroactive:
        sums = (zero, zero, g_d * pre, g_d * h if kind.leaks else zero)
        return _less(g, rate * leak * g_d, kind.leaks), zero, rate * post * g_d, sums
    to_eta = g_e * (_less(post * pre, leak * h, kind.leaks) - e)
    sums = (g_d * e, to_eta, g_e * pre, g_e * h if kind.leaks else zero)
    return (
        _less(g, eta * leak * g_e, kind.leaks),
        rate * g_d + (one - eta) * g_e,
        eta * post * g_e,
        sums,
    )
