"""The loops of the fused CPU backend, compiled by numba: one batch row after the other.

Every rule and bound is one of two updates, with a leak c per target neuron (c = 0 for Hebb,
x_j^2 for Oja; a decaying trace is Hebb with c = 1):

    increment     D[j, i] = x_j(t) x_i(t-1) - c_j H[j, i]
    linear        H <- clamp( H + r_j D, -clip, clip )              clip = inf: no bound
    soft          H <- clamp( H + d - |d| H, -1, 1 ),  d = r_j D

Under retroactive modulation D feeds the eligibility trace E, and E takes D's place above. So the
update of step t-1 and the product of step t are ONE pass over the trace, and so are, backwards,
the product of step t and the update of step t-1.

A neuron's sum is a chain of additions that ends in a slow one across the vector, so the loops take
several neurons at a time. These lie a half or a quarter of the net apart, so that what is stored for
one can be told at once not to be what is loaded for another.

Matrices are padded with zeros to a multiple of ``PAD`` columns and ``TOGETHER`` rows, so that no
such loop has a remainder. Names: B rows, T steps, N neurons, P padded width, G steps between
checkpoints.
"""

import functools
import math

import numpy as np
from numba import njit, types
from numba.extending import overload

PAD = 8
TOGETHER = 4
TANH, SIGMOID, LINEAR = 0, 1, 2
NO_MODULATION = -1
WEIGHTS, ADDITIVE, CLAMPED = 0, 1, 2

# Reordering sums is allowed, taking infinities and NaN for impossible is not: a row that has
# diverged must say so.
_COMPILE = {
    "nogil": True,
    "cache": True,
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
    "error_model": "numpy",
}

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


def _tanh(values, n):
    """The first n of ``values`` become their tanh, in place."""


@overload(_tanh)
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


@njit(**_COMPILE)
def tanh_(values):
    """tanh of an array (n,), in place, as the loops take it."""
    _tanh(values, len(values))


@njit(**_COMPILE)
def _copy(to, source, n):
    """The first n numbers of ``source``, as a plain loop: a slice's assignment is not vectorised."""
    for i in range(n):
        to[i] = source[i]


@njit(**_COMPILE)
def _copy_rows(to, source, rows, n):
    """The first n numbers of the first rows, likewise."""
    for j in range(rows):
        _copy(to[j], source[j], n)


@njit(**_COMPILE)
def _fill(to, value, n):
    for i in range(n):
        to[i] = value


@njit(**_COMPILE)
def _modulation(post, n, activation, modulator, eta):
    """The modulation M, or eta without a modulator.

    ``modulator``: weight (N,), bias (1,), fan-out weight and bias (N,), or empty without fan-out.
    """
    weight, bias, _, _ = modulator
    if activation == NO_MODULATION:
        return eta
    total = bias[0]
    for j in range(n):
        total += weight[j] * post[j]
    value = float(total)
    if activation == TANH:
        value = math.tanh(value)
    elif activation == SIGMOID:
        value = 1.0 / (1.0 + math.exp(-value))
    return post.dtype.type(value)


@njit(**_COMPILE)
def _rates(rate, modulation, n, modulator):
    """The rate of every target neuron."""
    _, _, fan_weight, fan_bias = modulator
    if fan_weight.size == 0:
        _fill(rate, modulation, n)
    for j in range(fan_weight.size):
        rate[j] = fan_weight[j] * modulation + fan_bias[j]


@njit(**_COMPILE)
def _leaks(leak, post, n, decay, oja):
    for j in range(n):
        leak[j] = decay + oja * post[j] * post[j]


@njit(**_COMPILE)
def _load_before(pre, x, hidden, starts, t, b, n):
    """``pre`` becomes the activity before step t: zero where an episode starts."""
    if starts[t, b]:
        _fill(pre, 0, n)
    elif t == 0:
        _copy(pre, hidden[b], n)
    else:
        _copy(pre, x[t - 1, b], n)


@njit(**_COMPILE)
def _bounded(h, d, clip, soft):
    """The trace h after a change by d."""
    moved = h + d - abs(d) * h if soft else h + d
    return min(max(moved, -clip), clip)


@njit(**_COMPILE)
def _less(value, leak, leaks):
    """value - leak, where anything leaks."""
    return value - leak if leaks else value


@njit(**_COMPILE)
def _added(sums, more):
    return sums[0] + more[0], sums[1] + more[1], sums[2] + more[2], sums[3] + more[3]


@njit(**_COMPILE)
def _products(total, weight, alpha, trace, pre, n):
    """total_j = sum_i (w_ji + alpha_ji H_ji) pre_i, of n neurons, the last maybe more than once."""
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


# What the loops share is no closure of theirs: numba gives a closure's function a random name in the
# key of its cache, and would compile the loops anew in every process. Nor are its arguments unpacked
# by a star, which keeps the loops from being vectorised (four times slower, measured).
@njit(**_COMPILE, forceinline=True)
def _update(kind, old, old_e, new, new_e, j, i, post, rate, leak, pre, eta, clip):
    """The update of one connection; returns its trace."""
    soft, retroactive, leaks = kind
    h = old[j, i]
    if retroactive:
        e = old_e[j, i]
        d = rate * e
        new_e[j, i] = e + eta * (_less(post * pre, leak * h, leaks) - e)
    else:
        d = _less(rate * post * pre, rate * leak * h, leaks)
    h = _bounded(h, d, clip, soft)
    new[j, i] = h
    return h


@njit(**_COMPILE, forceinline=True)
def _pull(kind, matrices, g_matrices, j, i, post, rate, leak, pre, g_total, following, numbers):
    """Backwards through the update of one connection and the product after it.

    Changes the gradients of alpha, trace and eligibility. Returns that of the activity before
    the update, of the one before the product (``following``), and what the connection adds to
    its neuron's sums: the gradients of rate and eta, and that of D times ``pre`` and times H.
    """
    soft, retroactive, leaks = kind
    weight, alpha, H, E = matrices
    d_alpha, gH, gE = g_matrices
    eta, clip, zero, one = numbers
    h, a = H[j, i], alpha[j, i]
    if retroactive:
        e = E[j, i]
        d = rate * e
    else:
        d = _less(rate * post * pre, rate * leak * h, leaks)
    moved = h + d - abs(d) * h if soft else h + d
    later = min(max(moved, -clip), clip)  # as the forward pass had it
    q = g_total * following
    d_alpha[j, i] += later * q
    g_following = g_total * (weight[j, i] + a * later)
    g = gH[j, i] + a * q
    g = g if later == moved else zero
    if soft:
        slope = h if d > zero else (-h if d < zero else zero)
        g_d = g * (one - slope)
        g = g * (one - abs(d))
    else:
        g_d = g
    if not retroactive:
        gH[j, i] = _less(g, rate * leak * g_d, leaks)
        return (
            rate * post * g_d,
            g_following,
            (zero, zero, g_d * pre, g_d * h if leaks else zero),
        )
    g_e = gE[j, i]
    gE[j, i] = rate * g_d + (one - eta) * g_e
    gH[j, i] = _less(g, eta * leak * g_e, leaks)
    to_eta = g_e * (_less(post * pre, leak * h, leaks) - e)
    return (
        eta * post * g_e,
        g_following,
        (g_d * e, to_eta, g_e * pre, g_e * h if leaks else zero),
    )


@functools.cache
def compiled(soft: bool, retroactive: bool, leaks: bool):
    """The kernels (step, forward, backward) of a kind of update; numba compiles each on first use.

    ``leaks`` is whether c can be other than zero.

    All take ``net`` = (weight, alpha, modulator), the first two padded, but not for ``step``;
    ``options`` = (clip, decay, oja, eta) in the arrays' type, the modulator's activation, and the
    rows [first, last).
    """
    kind = (soft, retroactive, leaks)

    @njit(**_COMPILE)
    def step(
        net,
        options,
        activation,
        mode,
        projection,
        inputs,
        starts,
        state,
        memory,
        group,
        first,
        last,
    ):
        weight, alpha, modulator = net
        input_weight, input_bias = projection
        clip, decay, oja, eta = options
        hidden, traces, eligibilities = state
        signal, kept, kept_eligibility = memory
        n = weight.shape[0]
        dtype = weight.dtype
        pre = np.zeros(n, dtype)
        rate = np.zeros(n, dtype)
        leak = np.zeros(n, dtype)
        for b in range(first, last):
            post, H = hidden[b], traces[b]
            E = eligibilities[b] if retroactive else H
            if starts[b]:
                post[:] = 0
                H[:] = 0
                E[:] = 0
            if len(kept):
                _copy_rows(kept[b], H, n, n)
                if retroactive:
                    _copy_rows(kept_eligibility[b], E, n, n)
            _copy(pre, post, n)
            _products(post, weight, alpha, H, pre, n)
            if mode == WEIGHTS:
                for j in range(n):
                    post[j] += input_bias[j]
                for i in range(len(input_weight)):
                    u = inputs[b, i]
                    for j in range(n):
                        post[j] += input_weight[i, j] * u
            elif mode == ADDITIVE:
                for j in range(n):
                    post[j] += inputs[b, j]
            _tanh(post, n)
            if mode == CLAMPED:
                for j in range(n):
                    if inputs[b, n + j] != 0:
                        post[j] = inputs[b, j]
            signal[b] = _modulation(post, n, activation, modulator, eta)
            _rates(rate, signal[b], n, modulator)
            _leaks(leak, post, n, decay, oja)
            for j in range(n):
                xj, rj, cj = post[j], rate[j], leak[j]
                for i in range(n):
                    _update(kind, H, E, H, E, j, i, xj, rj, cj, pre[i], eta, clip)

    @njit(**_COMPILE)
    def forward(
        net, options, activation, clamp, drive, mask, starts, state, out, group, first, last
    ):
        weight, alpha, modulator = net
        clip, decay, oja, eta = options
        hidden, trace, eligibility = state
        x, signal, kept, kept_eligibility, final, final_eligibility, every = out
        steps, _, n = drive.shape
        width = weight.shape[1]
        dtype = weight.dtype
        quarter = len(weight) // TOGETHER
        zero = dtype.type(0)
        H = np.zeros(weight.shape, dtype)
        E = np.zeros(weight.shape, dtype)
        pre = np.zeros(width, dtype)
        before = np.zeros(width, dtype)
        post = np.zeros(width, dtype)
        rate = np.zeros(width, dtype)
        leak = np.zeros(width, dtype)
        total = np.zeros(width, dtype)
        for b in range(first, last):
            H[:] = 0  # also the padding, where a row that diverged has left its NaN
            H[:n, :n] = trace[b]
            if retroactive:
                E[:] = 0
                E[:n, :n] = eligibility[b]
            _copy(pre, hidden[b], n)
            for t in range(steps + 1):
                if t < steps and starts[t, b]:
                    # All that the update of the step before reads is zero, so it changes nothing.
                    H[:] = 0
                    if retroactive:
                        E[:] = 0
                    for vector in (pre, before, post, rate, leak):
                        _fill(vector, zero, n)
                if t == 0:
                    _products(total, weight, alpha, H, pre, n)
                else:
                    for j in range(quarter):
                        j1, j2, j3 = j + quarter, j + 2 * quarter, j + 3 * quarter
                        x0, r0, c0 = post[j], rate[j], leak[j]
                        x1, r1, c1 = post[j1], rate[j1], leak[j1]
                        x2, r2, c2 = post[j2], rate[j2], leak[j2]
                        x3, r3, c3 = post[j3], rate[j3], leak[j3]
                        sum0, sum1, sum2, sum3 = zero, zero, zero, zero
                        for i in range(width):
                            p, q = before[i], pre[i]
                            h = _update(kind, H, E, H, E, j, i, x0, r0, c0, p, eta, clip)
                            sum0 += (weight[j, i] + alpha[j, i] * h) * q
                            h = _update(kind, H, E, H, E, j1, i, x1, r1, c1, p, eta, clip)
                            sum1 += (weight[j1, i] + alpha[j1, i] * h) * q
                            h = _update(kind, H, E, H, E, j2, i, x2, r2, c2, p, eta, clip)
                            sum2 += (weight[j2, i] + alpha[j2, i] * h) * q
                            h = _update(kind, H, E, H, E, j3, i, x3, r3, c3, p, eta, clip)
                            sum3 += (weight[j3, i] + alpha[j3, i] * h) * q
                        total[j], total[j1], total[j2], total[j3] = sum0, sum1, sum2, sum3
                if t == steps:
                    break
                if every > 0 and t % every == 0:
                    _copy_rows(kept[t // every, b], H, len(weight), width)
                    if retroactive:
                        _copy_rows(kept_eligibility[t // every, b], E, len(weight), width)
                if clamp:
                    _tanh(total, n)
                    for j in range(n):
                        post[j] = drive[t, b, j] if mask[t, b, j] else total[j]
                else:
                    for j in range(n):
                        post[j] = total[j] + drive[t, b, j]
                    _tanh(post, n)
                _copy(x[t, b], post, n)
                signal[t, b] = _modulation(post, n, activation, modulator, eta)
                _rates(rate, signal[t, b], n, modulator)
                _leaks(leak, post, n, decay, oja)
                _copy(before, pre, n)
                _copy(pre, post, n)
            final[b] = H[:n, :n]
            if retroactive:
                final_eligibility[b] = E[:n, :n]

    @njit(**_COMPILE)
    def backward(
        net,
        options,
        activation,
        clamp,
        mask,
        starts,
        hidden,
        saved,
        upstream,
        out,
        group,
        first,
        last,
    ):
        weight, alpha, modulator = net
        modulator_weight, _, fan_weight, _ = modulator
        clip, decay, oja, eta = options
        x, signal, kept, kept_eligibility, every = saved
        g_x, g_hidden, g_trace, g_eligibility = upstream
        d_drive, d_rate, d_signal, d_alphas, d_etas, d_hidden, d_trace, d_eligibility = out
        d_alpha, d_eta = d_alphas[group], d_etas[group]
        steps, _, n = x.shape
        width = weight.shape[1]
        dtype = weight.dtype
        zero, one, two = dtype.type(0), dtype.type(1), dtype.type(2)
        numbers = eta, clip, zero, one
        half = len(weight) // 2
        Hs = np.zeros((every, *weight.shape), dtype)
        Es = np.zeros((every if retroactive else 1, *weight.shape), dtype)
        gH = np.zeros(weight.shape, dtype)
        gE = np.zeros(weight.shape if retroactive else (1, 1), dtype)
        pre = np.zeros(width, dtype)
        before = np.zeros(width, dtype)
        post = np.zeros(width, dtype)
        rate = np.zeros(width, dtype)
        leak = np.zeros(width, dtype)
        g_pre = np.zeros(width, dtype)
        g_before = np.zeros(width, dtype)
        g_post = np.zeros(width, dtype)
        g_total = np.zeros(width, dtype)
        s_rate = np.zeros(width, dtype)
        s_pre = np.zeros(width, dtype)
        s_trace = np.zeros(width, dtype)
        for b in range(first, last):
            gH[:] = 0
            gH[:n, :n] = g_trace[b]
            if retroactive:
                gE[:] = 0
                gE[:n, :n] = g_eligibility[b]
            _fill(pre, zero, width)  # where a row before may have left its NaN
            _fill(g_pre, zero, width)
            _copy(g_post, g_hidden[b], n)  # of the activity at t, through the state after t
            _fill(g_total, zero, width)  # no product follows the last step
            for k in range((steps - 1) // every, -1, -1):
                t0 = k * every
                t1 = min(steps, t0 + every)
                # The traces before steps t0 .. t1 - 1, again.
                _copy_rows(Hs[0], kept[k, b], len(weight), width)
                if retroactive:
                    _copy_rows(Es[0], kept_eligibility[k, b], len(weight), width)
                for t in range(t0, t1 - 1):
                    if starts[t + 1, b]:
                        Hs[t + 1 - t0] = 0
                        if retroactive:
                            Es[t + 1 - t0] = 0
                        continue
                    _load_before(before, x, hidden, starts, t, b, n)
                    _copy(post, x[t, b], n)
                    _rates(rate, signal[t, b], n, modulator)
                    _leaks(leak, post, n, decay, oja)
                    old, new = Hs[t - t0], Hs[t + 1 - t0]
                    if retroactive:
                        old_e, new_e = Es[t - t0], Es[t + 1 - t0]
                    else:
                        old_e, new_e = Es[0], Es[0]
                    for j in range(n):
                        xj, rj, cj = post[j], rate[j], leak[j]
                        for i in range(width):
                            _update(
                                kind, old, old_e, new, new_e, j, i, xj, rj, cj, before[i], eta, clip
                            )
                # Backwards: the product of step t + 1 and the update of step t in one pass.
                for t in range(t1 - 1, t0 - 1, -1):
                    following = t + 1
                    if following < steps and starts[following, b]:
                        gH[:] = 0
                        if retroactive:
                            gE[:] = 0
                        _fill(g_pre, zero, width)
                        _fill(g_total, zero, width)
                    _load_before(before, x, hidden, starts, t, b, n)
                    _copy(post, x[t, b], n)
                    _rates(rate, signal[t, b], n, modulator)
                    _leaks(leak, post, n, decay, oja)
                    _fill(g_before, zero, width)
                    matrices = weight, alpha, Hs[t - t0], Es[t - t0 if retroactive else 0]
                    g_matrices = d_alpha, gH, gE
                    for j in range(half):
                        j1 = j + half
                        x0, r0, c0, g0 = post[j], rate[j], leak[j], g_total[j]
                        x1, r1, c1, g1 = post[j1], rate[j1], leak[j1], g_total[j1]
                        sums0, sums1 = (zero, zero, zero, zero), (zero, zero, zero, zero)
                        for i in range(width):
                            p, q = before[i], pre[i]
                            p0, q0, more0 = _pull(
                                kind, matrices, g_matrices, j, i, x0, r0, c0, p, g0, q, numbers
                            )
                            p1, q1, more1 = _pull(
                                kind, matrices, g_matrices, j1, i, x1, r1, c1, p, g1, q, numbers
                            )
                            sums0, sums1 = _added(sums0, more0), _added(sums1, more1)
                            g_before[i] += p0 + p1
                            g_pre[i] += q0 + q1
                        s_rate[j], eta0, s_pre[j], s_trace[j] = sums0
                        s_rate[j1], eta1, s_pre[j1], s_trace[j1] = sums1
                        d_eta[0] += eta0 + eta1
                    if following < steps:
                        _copy(g_post, g_pre, n)
                    # Now everything that needs no trace: from the activity down to its drive.
                    g_modulation = zero
                    for j in range(n):
                        xj, scale = x[t, b, j], eta if retroactive else rate[j]
                        if not retroactive:
                            s_rate[j] = xj * s_pre[j] - leak[j] * s_trace[j]
                        g_post[j] += scale * (s_pre[j] - two * oja * xj * s_trace[j])
                        g_post[j] += g_x[t, b, j]
                        g_modulation += s_rate[j] * (fan_weight[j] if fan_weight.size else one)
                        d_rate[t, b, j] = s_rate[j]
                    if activation != NO_MODULATION:
                        m = signal[t, b]
                        if activation == TANH:
                            g_modulation *= one - m * m
                        elif activation == SIGMOID:
                            g_modulation *= m * (one - m)
                        d_signal[t, b] = g_modulation
                        for j in range(n):
                            g_post[j] += g_modulation * modulator_weight[j]
                    for j in range(n):
                        xj = x[t, b, j]
                        g_total[j] = g_post[j] * (one - xj * xj)
                        d_drive[t, b, j] = g_total[j]
                        if clamp and mask[t, b, j]:
                            g_total[j] = zero
                            d_drive[t, b, j] = g_post[j]
                    _copy(pre, before, n)
                    _copy(g_pre, g_before, width)
            # Only the product of the first step is left.
            if starts[0, b]:
                gH[:] = 0
                if retroactive:
                    gE[:] = 0
                _fill(g_pre, zero, width)
            else:
                H = Hs[0]
                for j in range(n):
                    gj = g_total[j]
                    for i in range(width):
                        q = gj * pre[i]
                        gH[j, i] += alpha[j, i] * q
                        d_alpha[j, i] += H[j, i] * q
                        g_pre[i] += gj * (weight[j, i] + alpha[j, i] * H[j, i])
            d_hidden[b] = g_pre[:n]
            d_trace[b] = gH[:n, :n]
            if retroactive:
                d_eligibility[b] = gE[:n, :n]

    return step, forward, backward
