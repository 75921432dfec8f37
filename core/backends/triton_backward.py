"""The backward pass in Triton, with the trace on chip or in tiles.

The equations and names are in ``triton_update``.
"""

import triton
import triton.language as tl

from plasticrl.core.backends.triton_update import (
    SIZES,
    _before,
    _leaks,
    _product_backward,
    _rates,
    _recompute,
    _through_increment,
    _through_rates,
    _updated_backward,
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
    mask,
    starts,
    hidden,
    x,
    modulation,
    checkpoints,
    eligibility_checkpoints,
    recomputed,
    recomputed_eligibility,
    g_x,
    d_drive,
    d_rate,
    d_modulator_drive,
    d_alpha,
    d_eta,
    d_hidden,
    d_trace,
    d_eligibility,
    n_steps,
    n_rows,
    spacing,
    sharing,
    SOFT: tl.constexpr,
    RETROACTIVE: tl.constexpr,
    LEAK: tl.constexpr,
    ACTIVATION: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Program p has a part of ``recomputed`` and sums of its own in ``d_alpha`` (P, N, N) and
    ``d_eta`` (P,). Upstream gradients of the state become those of the initial one.
    """
    p = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < N
    tile = columns[:, None] * N + columns[None, :]
    within = inside[:, None] & inside[None, :]
    eta, clip = tl.load(eta), tl.load(clip)
    sum_eta = eta * 0
    sum_alpha = tl.zeros((BLOCK, BLOCK), eta.dtype)
    for turn in range((n_rows - p + sharing - 1) // sharing):
        b = p + turn * sharing
        g_post = tl.load(d_hidden + b * N + columns, inside, other=0)
        g_h = tl.load(d_trace + b * N * N + tile, within, other=0)
        g_e = g_h
        if RETROACTIVE:
            g_e = tl.load(d_eligibility + b * N * N + tile, within, other=0)
        for segment in range((n_steps + spacing - 1) // spacing):
            first = ((n_steps - 1) // spacing - segment) * spacing
            last = tl.minimum(first + spacing, n_steps)
            tl.debug_barrier()  # the recomputed traces have been read
            _recompute(
                checkpoints,
                eligibility_checkpoints,
                recomputed,
                recomputed_eligibility,
                x,
                modulation,
                starts,
                hidden,
                fan_out_weight,
                fan_out_bias,
                eta,
                clip,
                b,
                p * spacing,
                first,
                last,
                spacing,
                n_rows,
                columns,
                columns,
                SOFT,
                RETROACTIVE,
                LEAK,
                ACTIVATION,
                N,
            )
            tl.debug_barrier()
            for back in range(last - first):
                t = last - 1 - back
                row = t * n_rows + b
                started = tl.load(starts + row) != 0
                pre = _before(x, hidden, started, t, b, n_rows, columns, inside, N)
                post = tl.load(x + row * N + columns, inside, other=0)
                m = tl.load(modulation + row)
                r = _rates(post, m, eta, fan_out_weight, fan_out_bias, columns, inside, ACTIVATION)
                c = _leaks(post, LEAK)
                at = (p * spacing + t - first) * N * N
                h = tl.load(recomputed + at + tile, within, other=0)
                e = h
                if RETROACTIVE:
                    e = tl.load(recomputed_eligibility + at + tile, within, other=0)
                g_h, g_e, s_rate, s_pre, s_trace, s_eta, g_pre = _updated_backward(
                    g_h, g_e, h, e, pre, post, r, c, eta, clip, SOFT, RETROACTIVE
                )
                sum_eta += s_eta
                g_post += _through_increment(post, r, eta, s_pre, s_trace, LEAK, RETROACTIVE)
                g_post += tl.load(g_x + row * N + columns, inside, other=0)
                tl.store(d_rate + row * N + columns, s_rate, inside)
                if ACTIVATION != "none":
                    g_m = _through_rates(s_rate, m, fan_out_weight, columns, inside, ACTIVATION)
                    tl.store(d_modulator_drive + row, g_m)
                    g_post += g_m * tl.load(modulator_weight + columns, inside, other=0)
                g_total = g_post * (1 - post * post)
                g_given = g_total
                if mask is not None:
                    clamped = tl.load(mask + row * N + columns, inside, other=0) != 0
                    g_given = tl.where(clamped, g_post, g_total)
                    g_total = tl.where(clamped, 0, g_total)
                tl.store(d_drive + row * N + columns, g_given, inside)
                g_h, sum_alpha, g_product = _product_backward(
                    g_h, sum_alpha, h, weight, alpha, tile, within, pre, g_total
                )
                g_post = tl.where(started, 0, g_pre + g_product)
                g_h = tl.where(started, 0, g_h)
                if RETROACTIVE:
                    g_e = tl.where(started, 0, g_e)
        tl.store(d_hidden + b * N + columns, g_post, inside)
        tl.store(d_trace + b * N * N + tile, g_h, within)
        if RETROACTIVE:
            tl.store(d_eligibility + b * N * N + tile, g_e, within)
    tl.store(d_alpha + p * N * N + tile, sum_alpha, within)
    tl.store(d_eta + p, sum_eta)


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
    mask,
    starts,
    hidden,
    x,
    modulation,
    checkpoints,
    eligibility_checkpoints,
    recomputed,
    recomputed_eligibility,
    g_x,
    d_drive,
    d_rate,
    d_modulator_drive,
    d_alpha,
    d_eta,
    d_hidden,
    d_trace,
    d_eligibility,
    n_steps,
    n_rows,
    spacing,
    sharing,
    SOFT: tl.constexpr,
    RETROACTIVE: tl.constexpr,
    LEAK: tl.constexpr,
    ACTIVATION: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
):
    """As ``on_chip``. ``d_drive`` also hands vectors from tile to tile; ``d_alpha`` starts at 0."""
    p = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < N
    eta, clip = tl.load(eta), tl.load(clip)
    sum_eta = eta * 0
    for turn in range((n_rows - p + sharing - 1) // sharing):
        b = p + turn * sharing
        g_post = tl.load(d_hidden + b * N + columns, inside, other=0)
        for segment in range((n_steps + spacing - 1) // spacing):
            first = ((n_steps - 1) // spacing - segment) * spacing
            last = tl.minimum(first + spacing, n_steps)
            for top in range(0, N, ROWS):
                rows = top + tl.arange(0, ROWS)
                _recompute(
                    checkpoints,
                    eligibility_checkpoints,
                    recomputed,
                    recomputed_eligibility,
                    x,
                    modulation,
                    starts,
                    hidden,
                    fan_out_weight,
                    fan_out_bias,
                    eta,
                    clip,
                    b,
                    p * spacing,
                    first,
                    last,
                    spacing,
                    n_rows,
                    rows,
                    columns,
                    SOFT,
                    RETROACTIVE,
                    LEAK,
                    ACTIVATION,
                    N,
                )
            for back in range(last - first):
                t = last - 1 - back
                row = t * n_rows + b
                at = (p * spacing + t - first) * N * N
                started = tl.load(starts + row) != 0
                pre = _before(x, hidden, started, t, b, n_rows, columns, inside, N)
                m = tl.load(modulation + row)

                # Through the update, to the rates and a part of the activity's gradient.
                g_pre = tl.zeros_like(g_post)
                tl.debug_barrier()  # recomputed traces and gradients have been written
                for top in range(0, N, ROWS):
                    rows = top + tl.arange(0, ROWS)
                    among = rows < N
                    tile = rows[:, None] * N + columns[None, :]
                    within = among[:, None] & inside[None, :]
                    post = tl.load(x + row * N + rows, among, other=0)
                    r = _rates(post, m, eta, fan_out_weight, fan_out_bias, rows, among, ACTIVATION)
                    h = tl.load(recomputed + at + tile, within, other=0)
                    g_h = tl.load(d_trace + b * N * N + tile, within, other=0)
                    e, g_e = h, g_h
                    if RETROACTIVE:
                        e = tl.load(recomputed_eligibility + at + tile, within, other=0)
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
                g_post += tl.load(d_drive + row * N + columns, inside, other=0)
                g_post += tl.load(g_x + row * N + columns, inside, other=0)
                post = tl.load(x + row * N + columns, inside, other=0)
                if ACTIVATION != "none":
                    s_rate = tl.load(d_rate + row * N + columns, inside, other=0)
                    g_m = _through_rates(s_rate, m, fan_out_weight, columns, inside, ACTIVATION)
                    tl.store(d_modulator_drive + row, g_m)
                    g_post += g_m * tl.load(modulator_weight + columns, inside, other=0)
                g_given = g_post * (1 - post * post)
                if mask is not None:
                    all_clamped = tl.load(mask + row * N + columns, inside, other=0) != 0
                    g_given = tl.where(all_clamped, g_post, g_given)
                tl.debug_barrier()
                tl.store(d_drive + row * N + columns, g_given, inside)
                tl.debug_barrier()

                # Through the product.
                for top in range(0, N, ROWS):
                    rows = top + tl.arange(0, ROWS)
                    among = rows < N
                    tile = rows[:, None] * N + columns[None, :]
                    within = among[:, None] & inside[None, :]
                    g_total = tl.load(d_drive + row * N + rows, among, other=0)
                    if mask is not None:
                        clamped = tl.load(mask + row * N + rows, among, other=0) != 0
                        g_total = tl.where(clamped, 0, g_total)
                    h = tl.load(recomputed + at + tile, within, other=0)
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
            tl.debug_barrier()  # the recomputed traces have been read
        tl.store(d_hidden + b * N + columns, g_post, inside)
    tl.store(d_eta + p, sum_eta)
