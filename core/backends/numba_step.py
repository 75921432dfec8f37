"""One step of a plastic net on the CPU, which changes the state in place."""

import functools
from typing import NamedTuple

import numpy as np
from numba import njit

from plasticrl.core.backends.numba_gates import gated_activity
from plasticrl.core.backends.numba_update import (
    INLINED,
    KERNEL,
    Kind,
    Options,
    Parameters,
    State,
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

WEIGHTS, ADDITIVE, CLAMPED = 0, 1, 2


class Projection(NamedTuple):
    """The input mode, and for the mode ``WEIGHTS`` the weight (I, N) and the bias (N,).

    A plastic LSTM has the mode ``WEIGHTS``, and 4N instead of N.
    """

    weight: np.ndarray
    bias: np.ndarray
    mode: int


class Recorded(NamedTuple):
    """Arrays to which a step writes the modulation (B,) and the traces (B, ...) before the step.

    The traces are padded. They are not written if the arrays have size 0. A plastic LSTM also
    writes its gates (B, 4N), into which it computes them, so that array is needed in any case.
    """

    modulation: np.ndarray
    trace: np.ndarray
    eligibility: np.ndarray
    gates: np.ndarray


class Activity(NamedTuple):
    """The vectors of one row that ``add_inputs`` reads and writes; see ``numba_gates``."""

    pre: np.ndarray
    """The activity before the step."""
    post: np.ndarray
    """The post-synaptic activity of the update."""
    hidden: np.ndarray
    cell: np.ndarray
    gates: np.ndarray


@njit(**INLINED)
def _add_projected(totals, projection, inputs, n):
    """Add the projected inputs to n totals."""
    if projection.mode == WEIGHTS:
        for j in range(n):
            totals[j] += projection.bias[j]
        for i in range(len(projection.weight)):
            u = inputs[i]
            for j in range(n):
                totals[j] += projection.weight[i, j] * u
    elif projection.mode == ADDITIVE:
        for j in range(n):
            totals[j] += inputs[j]


@njit(**INLINED)
def add_inputs(kind, v, parameters, projection, inputs, n):
    """Replace the products in ``v.post`` by the activity, computed with the cell's inputs (I,).

    Args:
        v: the ``Activity`` of a row, or ``numba_forward.Vectors``.
    """
    if kind.gated:
        fill(v.gates, 0, 4 * n)
        _add_projected(v.gates, projection, inputs, 4 * n)
        gated_activity(v, parameters, v.post, n)
    else:
        _add_projected(v.post, projection, inputs, n)
        tanh(v.post, n)
        if projection.mode == CLAMPED:
            for j in range(n):
                if inputs[n + j] != 0:
                    v.post[j] = inputs[j]


@njit(**INLINED)
def _record_traces(kind, recorded, H, E, b, n):
    if len(recorded.trace):
        copy_rows(recorded.trace[b], H, n, n)
        if kind.retroactive:
            copy_rows(recorded.eligibility[b], E, n, n)


@functools.cache
def compiled_step(kind: Kind):
    """Return the step for a kind of update. Numba compiles it on first use.

    It processes the groups [first, last) of rows, as ``compiled_backward`` does, and writes to
    ``state`` and ``recorded``. Inputs are (B, I) and starts (B,); the matrices are not padded.
    NamedTuples are passed as plain tuples, whose types numba finds faster: by 0.6 us each
    (measured).
    """

    @njit(**KERNEL)
    @versioned(kind.fingerprint)
    def step(parameters, options, projection, inputs, starts, state, recorded, cuts, first, last):
        parameters, options = Parameters(*parameters), Options(*options)
        projection, state, recorded = Projection(*projection), State(*state), Recorded(*recorded)
        n, dtype = parameters.weight.shape[0], parameters.weight.dtype
        pre, rate, leak = np.zeros(n, dtype), np.zeros(n, dtype), np.zeros(n, dtype)
        candidate = np.zeros(n, dtype)
        for b in range(cuts[first], cuts[last]):
            hidden, H = state.hidden[b], state.trace[b]
            E = state.eligibility[b] if kind.retroactive else H
            cell = state.cell[b] if kind.gated else hidden
            gates = recorded.gates[b] if kind.gated else hidden
            post = candidate if kind.gated else hidden
            if starts[b]:
                hidden[:] = 0
                cell[:] = 0
                H[:] = 0
                E[:] = 0
            _record_traces(kind, recorded, H, E, b, n)
            copy(pre, hidden, n)
            products(post, parameters, H, pre, n)
            v = Activity(pre, post, hidden, cell, gates)
            add_inputs(kind, v, parameters, projection, inputs[b], n)
            activity = cell if kind.gated and options.reads_cell else hidden
            m = modulation_of(activity, n, parameters, options)
            recorded.modulation[b] = m
            set_rates(rate, leak, post, m, n, parameters, options)
            for j in range(n):
                xj, rj, cj = post[j], rate[j], leak[j]
                for i in range(n):
                    update(kind, H, E, H, E, j, i, xj, rj, cj, pre[i], options)

    return step
