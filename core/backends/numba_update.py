"""Functions that the numba loops share: the update of one connection, its gradient, and others.

For the connection from neuron i to neuron j, let H be the trace, pre_i and post_j the activities
before and after the step (in a plastic LSTM, post_j is the candidate), and r_j the rate. Let c_j be
the leak: 0 for Hebb's rule, post_j^2 for Oja's rule, and 1 for Hebb's rule with the decay bound.
Then every combination of a rule and a bound is one of two updates:

    increment     D[j, i] = post_j pre_i - c_j H[j, i]
    linear        H <- clamp( H + r_j D, -clip, clip )              clip = inf: no bound
    soft          H <- clamp( H + d - |d| H, -1, 1 ),  d = r_j D

With retroactive modulation, the eligibility trace E replaces D in the last two lines, and changes
by E <- E + eta (D - E).

The loops over rows and steps are in ``numba_step``, ``numba_forward`` and ``numba_backward``. They
run both plastic nets; ``numba_gates`` has the part that only the LSTM needs. The forward and the
backward pass process several neurons at a time. So that none is left over, their matrices are
padded with zeros to a multiple of ``PAD`` columns and ``TOGETHER`` rows. Names: T, B, N and G are
defined in ``fused``; P is the padded width; ``g_x`` or ``gH`` is the gradient of the loss with
respect to x or H; the product is (w + alpha * H) pre.

Functions with an argument ``kind`` are inlined into the loops, where ``kind`` is a constant. They
are not closures, because numba's cache gives each closure a random name, so every process would
compile the loops again. They are not called with arguments unpacked by a star, because numba then
does not vectorize the loops (four times slower, measured).
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import overload

from plasticrl.core.numba_cache import CAN_CACHE, fingerprint

PAD = 8
TOGETHER = 4
TANH, SIGMOID, LINEAR = 0, 1, 2
NO_MODULATION = -1

# The compiler may reorder sums, but may not assume that there is no NaN or infinity, by which the
# callers detect that a row has diverged.
JIT = {
    "nogil": True,
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
    "error_model": "numpy",
}
# Only the loops over rows are cached; their code includes the functions that they call.
KERNEL = {**JIT, "cache": CAN_CACHE}
# Python calls only the loops. Wrappers for calls of the others would be a fifth of the compilation.
INNER = {**JIT, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
# By default ("_nrt": True), numba counts the references to each array that an inlined function
# takes out of a tuple, which takes a tenth of the time at N = 100 (measured). It is not needed,
# because all arrays live as long as the kernel runs.
INLINED = {**INNER, "forceinline": True, "_nrt": False}


class Kind(NamedTuple):
    """The properties of an update that are constants in its compiled code."""

    soft: bool
    retroactive: bool
    leaks: bool
    """Whether the leak c can differ from zero."""
    gated: bool = False
    """Whether the net is a plastic LSTM; see ``numba_gates``."""
    fingerprint: int = fingerprint(Path(__file__).parent.glob("numba_*.py"))


class Parameters(NamedTuple):
    """A plastic net's parameters; a missing one is an array of size 0."""

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
    gates_weight: np.ndarray
    """(3N, P), like the next field only in a plastic LSTM."""
    gates_bias: np.ndarray
    """(3N,)"""


class Options(NamedTuple):
    """A plastic net's options. All except the last two are numbers of the arrays' dtype."""

    clip: np.floating
    """The largest absolute value of the trace."""
    decay: np.floating
    """1 for the decay bound, else 0."""
    oja: np.floating
    """1 for Oja's rule, else 0."""
    eta: np.floating
    activation: int
    """The neuromodulator's activation, or ``NO_MODULATION``."""
    reads_cell: bool
    """Whether the neuromodulator reads the LSTM's cell instead of its output."""


class State(NamedTuple):
    """hidden and cell (B, N), trace and eligibility (B, N, N); a missing one has size 0."""

    hidden: np.ndarray
    trace: np.ndarray
    eligibility: np.ndarray
    cell: np.ndarray


# In single precision, tanh(x) is x p(x^2) / q(x^2) for |x| < 9.02, and +-1 elsewhere. p and q were
# fitted by iteratively reweighted least squares; the relative error is 2e-8 before rounding.
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
    """Replace the first n of ``values`` by their tanh."""


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
    """Replace the values of an array (n,) by their tanh. This is only for tests of ``tanh``."""
    tanh(values, len(values))


@njit(**INNER)
def copy(to, source, n):
    """Copy the first n numbers. Numba vectorizes this loop, but not the assignment of a slice."""
    for i in range(n):
        to[i] = source[i]


@njit(**INNER)
def copy_rows(to, source, rows, n):
    """Copy the first n numbers of the first ``rows`` rows."""
    for j in range(rows):
        copy(to[j], source[j], n)


@njit(**INNER)
def fill(to, value, n):
    """Set the first n numbers to ``value``."""
    for i in range(n):
        to[i] = value


@njit(**INLINED)
def modulation_of(activity, n, parameters, options):
    """Return the neuromodulator's output M for the activity that it reads; without one, eta."""
    if options.activation == NO_MODULATION:
        return options.eta
    total = parameters.modulator_bias[0]
    for j in range(n):
        total += parameters.modulator_weight[j] * activity[j]
    value = float(total)
    if options.activation == TANH:
        value = math.tanh(value)
    elif options.activation == SIGMOID:
        value = 1.0 / (1.0 + math.exp(-value))
    return activity.dtype.type(value)


@njit(**INLINED)
def set_rates(rate, leak, post, modulation, n, parameters, options):
    """Set rate r and leak c of every target neuron, from its activity and the modulation."""
    weight, bias = parameters.fan_out_weight, parameters.fan_out_bias
    if weight.size == 0:
        fill(rate, modulation, n)
    for j in range(weight.size):
        rate[j] = weight[j] * modulation + bias[j]
    for j in range(n):
        leak[j] = options.decay + options.oja * post[j] * post[j]


@njit(**INLINED)
def load_before(pre, x, hidden, starts, t, b, n):
    """Set ``pre`` to the activity before step t, which is zero if an episode starts there."""
    if starts[t, b]:
        fill(pre, 0, n)
    elif t == 0:
        copy(pre, hidden[b], n)
    else:
        copy(pre, x[t - 1, b], n)


@njit(**INNER)
def products(total, parameters, trace, pre, n):
    """Set total_j = sum_i (w_ji + alpha_ji H_ji) pre_i for n neurons.

    Four sums are computed at a time, because the additions of one sum must wait for each other. The
    four neurons are a quarter of the net apart, so that the compiler can tell that the result of
    one is not an input of another. If n is not a multiple of four, the last sum is computed more
    than once.
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


@njit(**INNER)
def _less(value, leak, leaks):
    """Return value - leak, or the value if ``leaks`` is false."""
    return value - leak if leaks else value


@njit(**INNER)
def _moved(h, d, soft):
    """Return the trace h after a change by d, before it is clipped."""
    return h + d - abs(d) * h if soft else h + d


@njit(**INNER)
def _clipped(h, clip):
    return min(max(h, -clip), clip)


@njit(**INLINED)
def update(kind, old, old_e, new, new_e, j, i, post, rate, leak, pre, options):
    """Update the connection from neuron i to neuron j, and return its new trace.

    H and E are read from ``old`` and ``old_e`` and written to ``new`` and ``new_e``, which can be
    the same arrays.
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
    """Return the change d of ``update``, and the new trace before and after clipping."""
    if kind.retroactive:
        d = rate * e
    else:
        d = _less(rate * post * pre, rate * leak * h, kind.leaks)
    moved = _moved(h, d, kind.soft)
    return d, moved, _clipped(moved, options.clip)


@njit(**INLINED)
def update_reverse(kind, h, e, d, g, g_e, post, rate, leak, pre, eta, zero, one):
    """Return the gradients with respect to the arguments of ``update``.

    Args:
        g: the gradient with respect to the new trace before clipping.
        g_e: the gradient with respect to the new eligibility trace.

    Returns:
        The gradients with respect to H, E and ``pre``, and a tuple of four numbers, which the
        caller sums over the connections to a target neuron. With retroactive modulation, they are
        the gradient with respect to the rate, that with respect to eta, g_e pre, and g_e H.
        Otherwise they are 0, 0, g_d pre, and g_d H, with the gradient g_d with respect to d.
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
