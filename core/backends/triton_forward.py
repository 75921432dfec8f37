"""The forward pass in Triton, with the trace on chip or in tiles.

The equations and names are in ``triton_update``.
"""

import triton
import triton.language as tl

from plasticrl.core.backends.triton_update import (
    SIZES,
    _leaks,
    _modulation,
    _rates,
    _tanh,
    _updated,
)


@triton.jit(do_not_specialize=SIZES)
def on_chip(
    weight,
    alpha,
    eta,
    clip,
    modulator_weight,
    modulator_bias,
    fan_out_weight,
    fan_out_bias,
    drive,
    mask,
    starts,
    hidden,
    trace,
    eligibility,
    x,
    modulation,
    checkpoints,
    eligibility_checkpoints,
    n_steps,
    n_rows,
    spacing,
    SOFT: tl.constexpr,
    RETROACTIVE: tl.constexpr,
    LEAK: tl.constexpr,
    ACTIVATION: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Program b runs row b. The initial traces are overwritten by the final ones."""
    b = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < N
    tile = columns[:, None] * N + columns[None, :]
    within = inside[:, None] & inside[None, :]
    eta, clip = tl.load(eta), tl.load(clip)
    pre = tl.load(hidden + b * N + columns, inside, other=0)
    h = tl.load(trace + b * N * N + tile, within, other=0)
    e = h
    if RETROACTIVE:
        e = tl.load(eligibility + b * N * N + tile, within, other=0)
    tl.debug_barrier()  # all is read before any of it is written
    for t in range(n_steps):
        row = t * n_rows + b
        started = tl.load(starts + row) != 0
        pre = tl.where(started, 0, pre)
        h = tl.where(started, 0, h)
        if RETROACTIVE:
            e = tl.where(started, 0, e)
        if checkpoints is not None:
            to = ((t // spacing) * n_rows + b) * N * N
            keep = within & (t % spacing == 0)
            tl.store(checkpoints + to + tile, h, keep)
            if RETROACTIVE:
                tl.store(eligibility_checkpoints + to + tile, e, keep)

        w = tl.load(weight + tile, within, other=0)
        a = tl.load(alpha + tile, within, other=0)
        total = tl.sum((w + a * h) * pre[None, :], 1)
        given = tl.load(drive + row * N + columns, inside, other=0)
        if mask is None:
            post = _tanh(given + total)
        else:
            clamped = tl.load(mask + row * N + columns, inside, other=0) != 0
            post = tl.where(clamped, given, _tanh(total))
        tl.store(x + row * N + columns, post, inside)

        m = eta
        if ACTIVATION != "none":
            m = _modulation(post, modulator_weight, modulator_bias, columns, inside, ACTIVATION)
        tl.store(modulation + row, m)
        r = _rates(post, m, eta, fan_out_weight, fan_out_bias, columns, inside, ACTIVATION)
        h, e = _updated(h, e, pre, post, r, _leaks(post, LEAK), eta, clip, SOFT, RETROACTIVE)
        pre = post
    tl.store(trace + b * N * N + tile, h, within)
    if RETROACTIVE:
        tl.store(eligibility + b * N * N + tile, e, within)


@triton.jit(do_not_specialize=SIZES)
def tiled(
    weight,
    alpha,
    eta,
    clip,
    modulator_weight,
    modulator_bias,
    fan_out_weight,
    fan_out_bias,
    drive,
    mask,
    starts,
    hidden,
    trace,
    eligibility,
    x,
    modulation,
    checkpoints,
    eligibility_checkpoints,
    n_steps,
    n_rows,
    spacing,
    SOFT: tl.constexpr,
    RETROACTIVE: tl.constexpr,
    LEAK: tl.constexpr,
    ACTIVATION: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Program b runs row b. The initial traces are overwritten by the final ones."""
    b = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < N
    eta, clip = tl.load(eta), tl.load(clip)
    pre = tl.load(hidden + b * N + columns, inside, other=0)
    before = pre  # the activity before ``pre``
    m = eta
    for t in range(n_steps + 1):  # the last time only the update
        row = t * n_rows + b
        now = t < n_steps
        started = tl.load(starts + row, now, other=0) != 0
        pre = tl.where(started, 0, pre)
        for top in range(0, N, ROWS):
            rows = top + tl.arange(0, ROWS)
            among = rows < N
            tile = rows[:, None] * N + columns[None, :]
            within = among[:, None] & inside[None, :]
            h = tl.load(trace + b * N * N + tile, within, other=0)
            e = h
            if RETROACTIVE:
                e = tl.load(eligibility + b * N * N + tile, within, other=0)

            post = tl.load(x + (row - n_rows) * N + rows, among & (t > 0), other=0)
            r = _rates(post, m, eta, fan_out_weight, fan_out_bias, rows, among, ACTIVATION)
            c = _leaks(post, LEAK)
            new_h, new_e = _updated(h, e, before, post, r, c, eta, clip, SOFT, RETROACTIVE)
            h = tl.where(started, 0, tl.where(t > 0, new_h, h))
            tl.store(trace + b * N * N + tile, h, within)
            if RETROACTIVE:
                e = tl.where(started, 0, tl.where(t > 0, new_e, e))
                tl.store(eligibility + b * N * N + tile, e, within)
            if checkpoints is not None:
                to = ((t // spacing) * n_rows + b) * N * N
                keep = within & (now & (t % spacing == 0))
                tl.store(checkpoints + to + tile, h, keep)
                if RETROACTIVE:
                    tl.store(eligibility_checkpoints + to + tile, e, keep)

            w = tl.load(weight + tile, within, other=0)
            a = tl.load(alpha + tile, within, other=0)
            total = tl.sum((w + a * h) * pre[None, :], 1)
            given = tl.load(drive + row * N + rows, among & now, other=0)
            if mask is None:
                post = _tanh(given + total)
            else:
                clamped = tl.load(mask + row * N + rows, among & now, other=0) != 0
                post = tl.where(clamped, given, _tanh(total))
            tl.store(x + row * N + rows, post, among & now)
        tl.debug_barrier()
        before = pre
        pre = tl.load(x + row * N + columns, inside & now, other=0)
        if ACTIVATION != "none":
            m = _modulation(pre, modulator_weight, modulator_bias, columns, inside, ACTIVATION)
        tl.store(modulation + row, m, now)
