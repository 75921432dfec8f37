"""The Triton loops for more neurons than fit on chip: the trace stays in memory.

``forward`` passes once over a row's trace in every step, (ROWS, BLOCK) at a time, making the update
of step t-1 and the product of step t; ``backward`` twice, through the update and through the
product. Vectors go from tile to tile through memory, with a barrier between writing and reading.
Arguments and names as in ``triton_kernels``, whose equations these are.
"""

import triton
import triton.language as tl

from plasticrl.core.backends.triton_kernels import (
    SIZES,
    _before,
    _leaks,
    _modulation,
    _product_backward,
    _rates,
    _recompute,
    _tanh,
    _through_increment,
    _through_rates,
    _updated,
    _updated_backward,
)


@triton.jit(do_not_specialize=SIZES)
def forward(
    weight,
    alpha,
    eta,
    clip,
    reader,
    reader_bias,
    fan,
    fan_bias,
    drive,
    mask,
    starts,
    hidden,
    trace,
    eligibility,
    x,
    signal,
    kept,
    kept_eligibility,
    n_steps,
    n_rows,
    every,
    SOFT: tl.constexpr,
    RETROACTIVE: tl.constexpr,
    LEAK: tl.constexpr,
    ACTIVATION: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Program b runs row b. What it reads as the initial traces become the final ones."""
    b = tl.program_id(0).to(tl.int64)
    cells = tl.arange(0, BLOCK)
    inside = cells < N
    eta, clip = tl.load(eta), tl.load(clip)
    pre = tl.load(hidden + b * N + cells, inside, other=0)
    before = pre  # the activity before ``pre``
    m = eta
    for t in range(n_steps + 1):  # at last only the update
        row = t * n_rows + b
        now = t < n_steps
        started = tl.load(starts + row, now, other=0) != 0
        pre = tl.where(started, 0, pre)
        for top in range(0, N, ROWS):
            rows = top + tl.arange(0, ROWS)
            among = rows < N
            tile = rows[:, None] * N + cells[None, :]
            within = among[:, None] & inside[None, :]
            h = tl.load(trace + b * N * N + tile, within, other=0)
            e = h
            if RETROACTIVE:
                e = tl.load(eligibility + b * N * N + tile, within, other=0)

            post = tl.load(x + (row - n_rows) * N + rows, among & (t > 0), other=0)
            r = _rates(post, m, eta, fan, fan_bias, rows, among, ACTIVATION)
            c = _leaks(post, LEAK)
            new_h, new_e = _updated(h, e, before, post, r, c, eta, clip, SOFT, RETROACTIVE)
            h = tl.where(started, 0, tl.where(t > 0, new_h, h))
            tl.store(trace + b * N * N + tile, h, within)
            if RETROACTIVE:
                e = tl.where(started, 0, tl.where(t > 0, new_e, e))
                tl.store(eligibility + b * N * N + tile, e, within)
            if kept is not None:
                to = ((t // every) * n_rows + b) * N * N
                keep = within & (now & (t % every == 0))
                tl.store(kept + to + tile, h, keep)
                if RETROACTIVE:
                    tl.store(kept_eligibility + to + tile, e, keep)

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
        pre = tl.load(x + row * N + cells, inside & now, other=0)
        if ACTIVATION != "none":
            m = _modulation(pre, reader, reader_bias, cells, inside, ACTIVATION)
        tl.store(signal + row, m, now)


@triton.jit(do_not_specialize=SIZES)
def backward(
    weight,
    alpha,
    eta,
    clip,
    reader,
    reader_bias,
    fan,
    fan_bias,
    mask,
    starts,
    hidden,
    x,
    signal,
    kept,
    kept_eligibility,
    slots,
    slots_eligibility,
    g_x,
    d_drive,
    d_rate,
    d_signal,
    d_alpha,
    d_eta,
    d_hidden,
    d_trace,
    d_eligibility,
    n_steps,
    n_rows,
    every,
    n_programs,
    SOFT: tl.constexpr,
    RETROACTIVE: tl.constexpr,
    LEAK: tl.constexpr,
    ACTIVATION: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """As the one on chip. ``d_drive`` serves to exchange a vector; ``d_alpha`` starts at zero."""
    p = tl.program_id(0).to(tl.int64)
    cells = tl.arange(0, BLOCK)
    inside = cells < N
    eta, clip = tl.load(eta), tl.load(clip)
    sum_eta = eta * 0
    for turn in range((n_rows - p + n_programs - 1) // n_programs):
        b = p + turn * n_programs
        g_post = tl.load(d_hidden + b * N + cells, inside, other=0)
        for segment in range((n_steps + every - 1) // every):
            first = ((n_steps - 1) // every - segment) * every
            last = tl.minimum(first + every, n_steps)
            for top in range(0, N, ROWS):
                rows = top + tl.arange(0, ROWS)
                _recompute(
                    kept,
                    kept_eligibility,
                    slots,
                    slots_eligibility,
                    x,
                    signal,
                    starts,
                    hidden,
                    fan,
                    fan_bias,
                    eta,
                    clip,
                    b,
                    p * every,
                    first,
                    last,
                    every,
                    n_rows,
                    rows,
                    cells,
                    SOFT,
                    RETROACTIVE,
                    LEAK,
                    ACTIVATION,
                    N,
                )
            for back in range(last - first):
                t = last - 1 - back
                row = t * n_rows + b
                at = (p * every + t - first) * N * N
                started = tl.load(starts + row) != 0
                pre = _before(x, hidden, started, t, b, n_rows, cells, inside, N)
                m = tl.load(signal + row)

                # Through the update, to the rates and a part of the activity's gradient.
                g_pre = tl.zeros_like(g_post)
                tl.debug_barrier()  # the slots and the traces' gradients have been written
                for top in range(0, N, ROWS):
                    rows = top + tl.arange(0, ROWS)
                    among = rows < N
                    tile = rows[:, None] * N + cells[None, :]
                    within = among[:, None] & inside[None, :]
                    post = tl.load(x + row * N + rows, among, other=0)
                    r = _rates(post, m, eta, fan, fan_bias, rows, among, ACTIVATION)
                    h = tl.load(slots + at + tile, within, other=0)
                    g_h = tl.load(d_trace + b * N * N + tile, within, other=0)
                    e, g_e = h, g_h
                    if RETROACTIVE:
                        e = tl.load(slots_eligibility + at + tile, within, other=0)
                        g_e = tl.load(d_eligibility + b * N * N + tile, within, other=0)
                    g_h, g_e, s_rate, s_pre, s_trace, s_eta, g_part = _updated_backward(
                        *(g_h, g_e, h, e, pre, post, r, _leaks(post, LEAK), eta, clip),
                        *(SOFT, RETROACTIVE),
                    )
                    sum_eta += s_eta
                    g_pre += g_part
                    s_post = _through_increment(post, r, eta, s_pre, s_trace, LEAK, RETROACTIVE)
                    tl.store(d_rate + row * N + rows, s_rate, among)
                    tl.store(d_drive + row * N + rows, s_post, among)
                    tl.store(d_trace + b * N * N + tile, g_h, within)
                    if RETROACTIVE:
                        g_e = tl.where(started, 0, g_e)
                        tl.store(d_eligibility + b * N * N + tile, g_e, within)
                tl.debug_barrier()

                # From the activity down to its drive.
                g_post += tl.load(d_drive + row * N + cells, inside, other=0)
                g_post += tl.load(g_x + row * N + cells, inside, other=0)
                post = tl.load(x + row * N + cells, inside, other=0)
                if ACTIVATION != "none":
                    s_rate = tl.load(d_rate + row * N + cells, inside, other=0)
                    g_m = _through_rates(s_rate, m, fan, cells, inside, ACTIVATION)
                    tl.store(d_signal + row, g_m)
                    g_post += g_m * tl.load(reader + cells, inside, other=0)
                g_given = g_post * (1 - post * post)
                if mask is not None:
                    all_clamped = tl.load(mask + row * N + cells, inside, other=0) != 0
                    g_given = tl.where(all_clamped, g_post, g_given)
                tl.debug_barrier()
                tl.store(d_drive + row * N + cells, g_given, inside)
                tl.debug_barrier()

                # Through the product.
                for top in range(0, N, ROWS):
                    rows = top + tl.arange(0, ROWS)
                    among = rows < N
                    tile = rows[:, None] * N + cells[None, :]
                    within = among[:, None] & inside[None, :]
                    g_total = tl.load(d_drive + row * N + rows, among, other=0)
                    if mask is not None:
                        clamped = tl.load(mask + row * N + rows, among, other=0) != 0
                        g_total = tl.where(clamped, 0, g_total)
                    h = tl.load(slots + at + tile, within, other=0)
                    g_h = tl.load(d_trace + b * N * N + tile, within, other=0)
                    g_a = tl.load(d_alpha + p * N * N + tile, within, other=0)
                    g_h, g_a, g_part = _product_backward(
                        g_h, g_a, h, weight, alpha, tile, within, pre, g_total
                    )
                    g_pre += g_part
                    g_h = tl.where(started, 0, g_h)
                    tl.store(d_trace + b * N * N + tile, g_h, within)
                    tl.store(d_alpha + p * N * N + tile, g_a, within)
                g_post = tl.where(started, 0, g_pre)
            tl.debug_barrier()  # the slots have been read
        tl.store(d_hidden + b * N + cells, g_post, inside)
    tl.store(d_eta + p, sum_eta)
