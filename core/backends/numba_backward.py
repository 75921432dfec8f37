"""The backward pass on the CPU. It runs all steps of one batch row in reverse, then the next row.

The traces of a segment are first computed again from its checkpoint. Then, for each step t, one
loop over the connections propagates gradients through the product of step t + 1 and the trace's
update of step t. ``numba_update`` and ``numba_gates`` explain the names.
"""

import functools
from typing import NamedTuple

import numpy as np
from numba import njit

from plasticrl.core.backends.numba_gates import gate_products_reverse, gates_reverse
from plasticrl.core.backends.numba_update import (
    INLINED,
    INNER,
    KERNEL,
    NO_MODULATION,
    SIGMOID,
    TANH,
    Kind,
    change,
    copy,
    copy_rows,
    fill,
    load_before,
    set_rates,
    update,
    update_reverse,
)
from plasticrl.core.numba_cache import versioned


class Upstream(NamedTuple):
    """The upstream gradients: of the outputs (T, B, N) and of the final state."""

    x: np.ndarray
    hidden: np.ndarray
    trace: np.ndarray
    eligibility: np.ndarray
    cell: np.ndarray


class _Matrices(NamedTuple):
    """Padded matrices: traces before each step of a segment (G, N, N), and gradients (N, N)."""

    H: np.ndarray
    E: np.ndarray
    gH: np.ndarray
    gE: np.ndarray


class _Vectors(NamedTuple):
    """Vectors of one row, at step t, and their gradients: (P,), or (N,) if they are an LSTM's."""

    before: np.ndarray
    """The activity at t - 1, which the update of step t reads."""
    pre: np.ndarray
    """The activity at t, which the product of step t + 1 reads."""
    post: np.ndarray
    """The post-synaptic activity that the update of step t reads, like the next two fields."""
    rate: np.ndarray
    leak: np.ndarray
    g_before: np.ndarray
    g_pre: np.ndarray
    g_post: np.ndarray
    g_total: np.ndarray
    """The gradient of the product, first of step t + 1 and then of step t."""
    sum_rate: np.ndarray
    """This and the next two fields are sums over the connections to each target neuron, of the
    numbers that ``update_reverse`` returns."""
    sum_pre: np.ndarray
    sum_trace: np.ndarray
    g_output: np.ndarray
    """The gradient of the activity at t; the same array as ``g_post`` unless the net is an LSTM."""
    g_cell: np.ndarray
    """The gradient of the LSTM's cell, first at t and then at t - 1."""
    cell_before: np.ndarray
    """The LSTM's cell at t - 1."""
    tanh_cell: np.ndarray
    """tanh of the LSTM's cell at t."""


@njit(**INLINED)
def _load(kind, v, saved, parameters, options, t, b, n):
    """Load the vectors that the update of step t reads."""
    load_before(v.before, saved.outputs, saved.hidden, saved.starts, t, b, n)
    copy(v.post, saved.gates[t, b, 2 * n :] if kind.gated else saved.outputs[t, b], n)
    set_rates(v.rate, v.leak, v.post, saved.modulation[t, b], n, parameters, options)


@njit(**INLINED)
def _recompute(kind, parameters, options, saved, m, v, first, last, b, n):
    """Compute the traces before the steps [first, last) again, from the checkpoint at the first."""
    k, (rows, width) = first // saved.segment_length, parameters.weight.shape
    copy_rows(m.H[0], saved.checkpoints[0][k, b], rows, width)
    if kind.retroactive:
        copy_rows(m.E[0], saved.checkpoints[1][k, b], rows, width)
    for t in range(first, last - 1):
        s = t - first
        if saved.starts[t + 1, b]:
            m.H[s + 1] = 0
            if kind.retroactive:
                m.E[s + 1] = 0
            continue
        _load(kind, v, saved, parameters, options, t, b, n)
        old, new = m.H[s], m.H[s + 1]
        if kind.retroactive:
            old_e, new_e = m.E[s], m.E[s + 1]
        else:
            old_e, new_e = m.E[0], m.E[0]
        for j in range(n):
            xj, rj, cj = v.post[j], v.rate[j], v.leak[j]
            for i in range(width):
                update(kind, old, old_e, new, new_e, j, i, xj, rj, cj, v.before[i], options)


@njit(**INLINED)
def _connection_reverse(kind, fixed, H, E, grads, j, i, post, rate, leak, before, g_total, pre):
    """Propagate gradients through the product and the update before it, for one connection.

    Change the gradients of alpha, H and E in place. Return those of ``before`` and ``pre``, and the
    four numbers to be summed that ``update_reverse`` returns.
    """
    parameters, options, zero, one = fixed
    d_alpha, gH, gE = grads
    h, a = H[j, i], parameters.alpha[j, i]
    e = E[j, i] if kind.retroactive else zero
    g_e = gE[j, i] if kind.retroactive else zero
    d, moved, later = change(kind, h, e, post, rate, leak, before, options)
    q = g_total * pre
    d_alpha[j, i] += later * q
    g_pre = g_total * (parameters.weight[j, i] + a * later)
    g = gH[j, i] + a * q
    g = g if later == moved else zero
    g_h, g_e, g_before, sums = update_reverse(
        kind, h, e, d, g, g_e, post, rate, leak, before, options.eta, zero, one
    )
    gH[j, i] = g_h
    if kind.retroactive:
        gE[j, i] = g_e
    return g_before, g_pre, sums


@njit(**INNER)
def _added(sums, more):
    return sums[0] + more[0], sums[1] + more[1], sums[2] + more[2], sums[3] + more[3]


@njit(**INLINED)
def _product_and_update_reverse(kind, parameters, options, H, E, grads, d_eta, v):
    """Propagate gradients through product and update, two target neurons at a time."""
    rows, width = parameters.weight.shape
    half, dtype = rows // 2, parameters.weight.dtype
    zero = dtype.type(0)
    fixed = parameters, options, zero, dtype.type(1)
    post, rate, leak, g_total = v.post, v.rate, v.leak, v.g_total
    for j in range(half):
        j1 = j + half
        x0, r0, c0, g0 = post[j], rate[j], leak[j], g_total[j]
        x1, r1, c1, g1 = post[j1], rate[j1], leak[j1], g_total[j1]
        sums0, sums1 = (zero, zero, zero, zero), (zero, zero, zero, zero)
        for i in range(width):
            p, q = v.before[i], v.pre[i]
            p0, q0, more0 = _connection_reverse(
                kind, fixed, H, E, grads, j, i, x0, r0, c0, p, g0, q
            )
            p1, q1, more1 = _connection_reverse(
                kind, fixed, H, E, grads, j1, i, x1, r1, c1, p, g1, q
            )
            sums0, sums1 = _added(sums0, more0), _added(sums1, more1)
            v.g_before[i] += p0 + p1
            v.g_pre[i] += q0 + q1
        v.sum_rate[j], eta0, v.sum_pre[j], v.sum_trace[j] = sums0
        v.sum_rate[j1], eta1, v.sum_pre[j1], v.sum_trace[j1] = sums1
        d_eta[0] += eta0 + eta1


@njit(**INLINED)
def _activity_reverse(kind, parameters, options, saved, out, v, g_modulation, t, b, n):
    """Propagate gradients from the activity of step t to its projected input and its product."""
    g_read = v.g_cell if kind.gated and options.reads_cell else v.g_output
    zero, one = v.post.dtype.type(0), v.post.dtype.type(1)
    if options.activation != NO_MODULATION:
        m = saved.modulation[t, b]
        if options.activation == TANH:
            g_modulation *= one - m * m
        elif options.activation == SIGMOID:
            g_modulation *= m * (one - m)
        out.modulator_pre_activation[t, b] = g_modulation
        for j in range(n):
            g_read[j] += g_modulation * parameters.modulator_weight[j]
    if kind.gated:
        g_projected = out.projected[t, b]
        load_before(v.cell_before, saved.cells, saved.cell, saved.starts, t, b, n)
        gates_reverse(v, saved.gates[t, b], saved.cells[t, b], g_projected, n)
        copy(v.g_total, g_projected[2 * n :], n)
        gate_products_reverse(parameters, g_projected, v.g_before, n)
    else:
        for j in range(n):
            xj = saved.outputs[t, b, j]
            v.g_total[j] = v.g_post[j] * (one - xj * xj)
            out.projected[t, b, j] = v.g_total[j]
            if saved.mask.size and saved.mask[t, b, j]:
                v.g_total[j] = zero
                out.projected[t, b, j] = v.g_post[j]
    copy(v.pre, v.before, n)
    copy(v.g_pre, v.g_before, len(v.g_pre))


@njit(**INNER)
def _first_product_reverse(parameters, H, d_alpha, gH, v, n):
    """Propagate gradients through the product of the first step, which no update precedes."""
    weight, alpha = parameters.weight, parameters.alpha
    for j in range(n):
        gj = v.g_total[j]
        for i in range(weight.shape[1]):
            q = gj * v.pre[i]
            gH[j, i] += alpha[j, i] * q
            d_alpha[j, i] += H[j, i] * q
            v.g_pre[i] += gj * (weight[j, i] + alpha[j, i] * H[j, i])


@njit(**INLINED)
def _restart_reverse(kind, m, v, width):
    """Set the gradients to zero, because none passes an episode's start."""
    zero = v.g_pre.dtype.type(0)
    m.gH[:] = 0
    if kind.retroactive:
        m.gE[:] = 0
    fill(v.g_pre, zero, width)
    if kind.gated:
        fill(v.g_cell, zero, len(v.g_cell))


@njit(**INLINED)
def _begin(kind, upstream, m, v, b, n, width):
    """Set the gradients to those after the last step."""
    zero = v.pre.dtype.type(0)
    m.gH[:] = 0
    copy_rows(m.gH, upstream.trace[b], n, n)
    if kind.retroactive:
        m.gE[:] = 0
        copy_rows(m.gE, upstream.eligibility[b], n, n)
    fill(v.pre, zero, width)  # a previous row can have left NaN there
    fill(v.g_pre, zero, width)
    copy(v.g_output, upstream.hidden[b], n)
    if kind.gated:
        copy(v.g_cell, upstream.cell[b], n)
    fill(v.g_total, zero, width)  # no product follows the last step


@njit(**INLINED)
def _down_to_update(kind, parameters, options, saved, m, v, grads, d_eta, t, s, b):
    """Propagate gradients through the product of step t + 1, and the update of step t.

    Step t is step number s of its segment.
    """
    steps, _, n = saved.outputs.shape
    width, zero = parameters.weight.shape[1], v.pre.dtype.type(0)
    if t + 1 < steps and saved.starts[t + 1, b]:
        _restart_reverse(kind, m, v, width)
        fill(v.g_total, zero, width)
    _load(kind, v, saved, parameters, options, t, b, n)
    fill(v.g_before, zero, width)
    H, E = m.H[s], m.E[s if kind.retroactive else 0]
    _product_and_update_reverse(kind, parameters, options, H, E, grads, d_eta, v)
    if t + 1 < steps:
        copy(v.g_output, v.g_pre, n)
    if kind.gated:
        fill(v.g_post, zero, n)


@njit(**INLINED)
def _finish(kind, parameters, saved, out, d_alpha, m, v, b, n):
    """Propagate gradients through the first product, and store those of the initial state."""
    if saved.starts[0, b]:
        _restart_reverse(kind, m, v, parameters.weight.shape[1])
    else:
        _first_product_reverse(parameters, m.H[0], d_alpha, m.gH, v, n)
    copy(out.hidden[b], v.g_pre, n)
    if kind.gated:
        copy(out.cell[b], v.g_cell, n)
    copy_rows(out.trace[b], m.gH, n, n)
    if kind.retroactive:
        copy_rows(out.eligibility[b], m.gE, n, n)


@functools.cache
def compiled_backward(kind: Kind):
    """Return the backward pass for a kind of update. Numba compiles it on first use.

    It processes the groups [first, last) of rows, of which group k has the rows [cuts[k],
    cuts[k + 1]). ``saved`` is a ``SavedForBackward`` of arrays. The results are written to ``out``,
    a ``Gradients`` of arrays, in which each group has its own sums of the gradients of alpha
    (groups, N, N), padded, and eta (groups, 1).
    """

    @njit(**KERNEL)
    @versioned(kind.fingerprint)
    def backward(parameters, options, saved, upstream, out, cuts, first, last):
        steps, _, n = saved.outputs.shape
        (rows, width), dtype = parameters.weight.shape, parameters.weight.dtype
        segment_length, zero = saved.segment_length, dtype.type(0)
        one, two, fan_out = dtype.type(1), dtype.type(2), parameters.fan_out_weight
        m = _Matrices(
            np.zeros((segment_length, rows, width), dtype),
            np.zeros((segment_length if kind.retroactive else 1, rows, width), dtype),
            np.zeros((rows, width), dtype),
            np.zeros((rows, width) if kind.retroactive else (1, 1), dtype),
        )
        g_post, n_cells = np.zeros(width, dtype), n if kind.gated else 0
        g_output = np.zeros(width, dtype) if kind.gated else g_post
        v = _Vectors(
            before=np.zeros(width, dtype),
            pre=np.zeros(width, dtype),
            post=np.zeros(width, dtype),
            rate=np.zeros(width, dtype),
            leak=np.zeros(width, dtype),
            g_before=np.zeros(width, dtype),
            g_pre=np.zeros(width, dtype),
            g_post=g_post,
            g_total=np.zeros(width, dtype),
            sum_rate=np.zeros(width, dtype),
            sum_pre=np.zeros(width, dtype),
            sum_trace=np.zeros(width, dtype),
            g_output=g_output,
            g_cell=np.zeros(n_cells, dtype),
            cell_before=np.zeros(n_cells, dtype),
            tanh_cell=np.zeros(n_cells, dtype),
        )
        group = first
        for b in range(cuts[first], cuts[last]):
            if b == cuts[group + 1]:
                group += 1
            d_alpha, d_eta = out.alpha[group], out.eta[group]
            grads = d_alpha, m.gH, m.gE
            _begin(kind, upstream, m, v, b, n, width)
            for k in range((steps - 1) // segment_length, -1, -1):
                t0, t1 = k * segment_length, min(steps, k * segment_length + segment_length)
                _recompute(kind, parameters, options, saved, m, v, t0, t1, b, n)
                for t in range(t1 - 1, t0 - 1, -1):
                    _down_to_update(
                        kind, parameters, options, saved, m, v, grads, d_eta, t, t - t0, b
                    )
                    # Propagate gradients from the update to the activity and the rates. In a
                    # function of its own, numba would vectorize this loop in another way, which
                    # would change the last bits of the sum.
                    g_modulation = zero
                    for j in range(n):
                        xj = saved.gates[t, b, 2 * n + j] if kind.gated else saved.outputs[t, b, j]
                        scale = options.eta if kind.retroactive else v.rate[j]
                        if not kind.retroactive:
                            v.sum_rate[j] = xj * v.sum_pre[j] - v.leak[j] * v.sum_trace[j]
                        v.g_post[j] += scale * (
                            v.sum_pre[j] - two * options.oja * xj * v.sum_trace[j]
                        )
                        v.g_output[j] += upstream.x[t, b, j]
                        g_modulation += v.sum_rate[j] * (fan_out[j] if fan_out.size else one)
                        out.rate[t, b, j] = v.sum_rate[j]
                    _activity_reverse(
                        kind, parameters, options, saved, out, v, g_modulation, t, b, n
                    )
            _finish(kind, parameters, saved, out, d_alpha, m, v, b, n)

    return backward
