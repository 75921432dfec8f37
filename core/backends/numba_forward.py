"""The forward pass on the CPU. It runs all steps of one batch row, then those of the next.

For each step t, one loop over the connections computes the trace's update of step t - 1 and the
product (w + alpha * H) pre of step t. ``numba_update`` and ``numba_gates`` explain the names.

``plasticrl.agents.closed_loop`` calls the same functions in a loop over steps whose inputs depend
on the previous outputs.
"""

import functools
from typing import NamedTuple

import numpy as np
from numba import njit

from plasticrl.core.backends.numba_gates import gated_activity
from plasticrl.core.backends.numba_update import (
    INLINED,
    INNER,
    KERNEL,
    Kind,
    copy,
    copy_rows,
    fill,
    modulation_of,
    products,
    set_rates,
    tanh,
    update,
)
from plasticrl.core.numba_cache import versioned


class Vectors(NamedTuple):
    """Vectors of one row, at step t: (P,), except the LSTM's cell (N,) and gates (4N,)."""

    before: np.ndarray
    """The activity at t - 2."""
    pre: np.ndarray
    """The activity at t - 1."""
    post: np.ndarray
    """The post-synaptic activity of the update of step t - 1, then that of step t. The next two
    fields belong to the same step."""
    rate: np.ndarray
    leak: np.ndarray
    total: np.ndarray
    """The product."""
    hidden: np.ndarray
    """The activity at t; the same array as ``post`` unless the net is an LSTM."""
    cell: np.ndarray
    """The LSTM's cell at t."""
    gates: np.ndarray
    """The LSTM's gates and candidate at t."""


@njit(**INNER)
def new_vectors(kind, width, n, dtype):
    """Allocate the vectors of N neurons, padded to P = ``width``."""
    post = np.zeros(width, dtype)
    hidden = np.zeros(width, dtype) if kind.gated else post
    n_cells = n if kind.gated else 0
    return Vectors(
        before=np.zeros(width, dtype),
        pre=np.zeros(width, dtype),
        post=post,
        rate=np.zeros(width, dtype),
        leak=np.zeros(width, dtype),
        total=np.zeros(width, dtype),
        hidden=hidden,
        cell=np.zeros(n_cells, dtype),
        gates=np.zeros(4 * n_cells, dtype),
    )


@njit(**INLINED)
def begin_row(kind, state, H, E, v, b, n):
    """Load the initial state of row b."""
    H[:] = 0  # also the padding, where an earlier row that diverged can have left NaN
    copy_rows(H, state.trace[b], n, n)
    if kind.retroactive:
        E[:] = 0
        copy_rows(E, state.eligibility[b], n, n)
    copy(v.pre, state.hidden[b], n)
    if kind.gated:
        copy(v.cell, state.cell[b], n)


@njit(**INLINED)
def restart(kind, H, E, v, n):
    """Reset a row, and the vectors, so that the update of step t - 1, which follows, is zero."""
    H[:] = 0
    if kind.retroactive:
        E[:] = 0
    for vector in (v.pre, v.before, v.post, v.rate, v.leak):
        fill(vector, vector.dtype.type(0), n)
    if kind.gated:
        fill(v.cell, v.cell.dtype.type(0), n)


@njit(**INLINED)
def update_and_product(kind, parameters, options, H, E, v):
    """Compute the update of step t - 1 and the product of step t, two neurons at a time."""
    weight, alpha = parameters.weight, parameters.alpha
    half, zero = len(weight) // 2, weight.dtype.type(0)
    post, rate, leak, total = v.post, v.rate, v.leak, v.total
    for j in range(half):
        j1 = j + half
        x0, r0, c0 = post[j], rate[j], leak[j]
        x1, r1, c1 = post[j1], rate[j1], leak[j1]
        sum0, sum1 = zero, zero
        for i in range(weight.shape[1]):
            p, q = v.before[i], v.pre[i]
            h = update(kind, H, E, H, E, j, i, x0, r0, c0, p, options)
            sum0 += (weight[j, i] + alpha[j, i] * h) * q
            h = update(kind, H, E, H, E, j1, i, x1, r1, c1, p, options)
            sum1 += (weight[j1, i] + alpha[j1, i] * h) * q
        total[j], total[j1] = sum0, sum1


@njit(**INLINED)
def keep_checkpoint(kind, out, H, E, t, b):
    if out.segment_length > 0 and t % out.segment_length == 0:
        k = t // out.segment_length
        copy_rows(out.checkpoints[0][k, b], H, H.shape[0], H.shape[1])
        if kind.retroactive:
            copy_rows(out.checkpoints[1][k, b], E, E.shape[0], E.shape[1])


@njit(**INLINED)
def after_activity(kind, v, parameters, options, out, t, b, n):
    """Store the activity of step t, and compute its modulation, rates and leaks."""
    copy(out.outputs[t, b], v.hidden, n)
    if kind.gated:
        copy(out.cells[t, b], v.cell, n)
        if out.segment_length > 0:
            copy(out.gates[t, b], v.gates, 4 * n)
    activity = v.cell if kind.gated and options.reads_cell else v.hidden
    m = modulation_of(activity, n, parameters, options)
    out.modulation[t, b] = m
    set_rates(v.rate, v.leak, v.post, m, n, parameters, options)
    copy(v.before, v.pre, n)
    copy(v.pre, v.hidden, n)


@njit(**INLINED)
def finish_row(kind, out, H, E, b, n):
    """Store the final trace of row b."""
    copy_rows(out.trace[b], H, n, n)
    if kind.retroactive:
        copy_rows(out.eligibility[b], E, n, n)


@njit(**INLINED)
def _set_activity(kind, v, parameters, inputs, t, b, n):
    """Compute the activity at t from the product and the projected input."""
    if kind.gated:
        copy(v.gates, inputs.projected[t, b], 4 * n)
        gated_activity(v, parameters, v.total, n)
    elif inputs.mask.size:
        tanh(v.total, n)
        for j in range(n):
            clamped = inputs.mask[t, b, j]
            v.post[j] = inputs.projected[t, b, j] if clamped else v.total[j]
    else:
        for j in range(n):
            v.post[j] = v.total[j] + inputs.projected[t, b, j]
        tanh(v.post, n)


@functools.cache
def compiled_forward(kind: Kind):
    """Return the forward pass for a kind of update. Numba compiles it on first use.

    It runs the groups [first, last) of rows, as ``compiled_backward`` does, from the initial
    ``state``. ``inputs`` is a ``NetInputs`` of arrays. The results are written to ``out``, a
    ``ForwardPass`` of arrays, whose checkpoints are padded.
    """

    @njit(**KERNEL)
    @versioned(kind.fingerprint)
    def forward(parameters, options, inputs, state, out, cuts, first, last):
        steps, _, n = out.outputs.shape
        shape, dtype = parameters.weight.shape, parameters.weight.dtype
        H, E = np.zeros(shape, dtype), np.zeros(shape, dtype)
        v = new_vectors(kind, shape[1], n, dtype)
        for b in range(cuts[first], cuts[last]):
            begin_row(kind, state, H, E, v, b, n)
            for t in range(steps + 1):  # the last pass only computes the update
                if t < steps and inputs.starts[t, b]:
                    restart(kind, H, E, v, n)
                if t == 0:
                    products(v.total, parameters, H, v.pre, n)
                else:
                    update_and_product(kind, parameters, options, H, E, v)
                if t < steps:
                    keep_checkpoint(kind, out, H, E, t, b)
                    _set_activity(kind, v, parameters, inputs, t, b, n)
                    after_activity(kind, v, parameters, options, out, t, b, n)
            finish_row(kind, out, H, E, b, n)

    return forward
