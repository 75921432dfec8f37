"""One step of a plastic net on the CPU, which changes the state in place."""

import functools
from typing import NamedTuple

import numpy as np
from numba import njit

from plasticrl.core.backends.numba_update import (
    INLINED,
    KERNEL,
    Kind,
    Options,
    Parameters,
    State,
    copy,
    copy_rows,
    modulation_of,
    products,
    set_rates,
    tanh,
    update,
)
from plasticrl.core.numba_cache import versioned

WEIGHTS, ADDITIVE, CLAMPED = 0, 1, 2


class Projection(NamedTuple):
    """The input mode, and for the mode ``WEIGHTS`` the weight (I, N) and the bias (N,)."""

    weight: np.ndarray
    bias: np.ndarray
    mode: int


class Recorded(NamedTuple):
    """Arrays to which a step writes the modulation (B,) and the traces (B, ...) before the step.

    The traces are padded. They are not written if the arrays have size 0.
    """

    modulation: np.ndarray
    trace: np.ndarray
    eligibility: np.ndarray


@njit(**INLINED)
def add_inputs(post, projection, inputs, n):
    """Replace the products in ``post`` by the activity, computed with the cell's inputs (I,)."""
    if projection.mode == WEIGHTS:
        for j in range(n):
            post[j] += projection.bias[j]
        for i in range(len(projection.weight)):
            u = inputs[i]
            for j in range(n):
                post[j] += projection.weight[i, j] * u
    elif projection.mode == ADDITIVE:
        for j in range(n):
            post[j] += inputs[j]
    tanh(post, n)
    if projection.mode == CLAMPED:
        for j in range(n):
            if inputs[n + j] != 0:
                post[j] = inputs[j]


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
        for b in range(cuts[first], cuts[last]):
            post, H = state.hidden[b], state.trace[b]
            E = state.eligibility[b] if kind.retroactive else H
            if starts[b]:
                post[:] = 0
                H[:] = 0
                E[:] = 0
            _record_traces(kind, recorded, H, E, b, n)
            copy(pre, post, n)
            products(post, parameters, H, pre, n)
            add_inputs(post, projection, inputs[b], n)
            m = modulation_of(post, n, parameters, options)
            recorded.modulation[b] = m
            set_rates(rate, leak, post, m, n, parameters, options)
            for j in range(n):
                xj, rj, cj = post[j], rate[j], leak[j]
                for i in range(n):
                    update(kind, H, E, H, E, j, i, xj, rj, cj, pre[i], options)

    return step
