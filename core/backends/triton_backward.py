"""The backward pass in Triton.

``triton_update`` explains the equations and names. ``g_x`` is the gradient of the loss with respect
to x, and ``s_x`` a part of it or a sum from which it is computed.
"""

import triton
import triton.language as tl

from plasticrl.core.backends.triton_update import (
    SIZES,
    _leaks,
    _load_traces,
    _moved,
    _rates,
    _restarted,
    _store_traces,
    _tile,
    _updated,
)


@triton.jit
def _updated_backward(g_h, g_e, h, e, pre, post, r, eta, clip, kind: tl.constexpr):
    """Propagate gradients through ``_updated``, from those of the new H and E.

    Return the gradients of the old H and E, the rates, ``post``, ``pre`` and eta, in this order.
    """
    c = _leaks(post, kind)
    increment = post[:, None] * pre[None, :] - c[:, None] * h
    if kind.retroactive:
        d = r[:, None] * e
    else:
        d = r[:, None] * increment
    g_d = tl.where(tl.abs(_moved(h, d, kind)) <= clip, g_h, 0)
    g_h = g_d
    if kind.soft:
        g_d = g_d * (1 - tl.where(d > 0, h, tl.where(d < 0, -h, 0)))
        g_h = g_h * (1 - tl.abs(d))
    if kind.retroactive:
        s_rate = tl.sum(g_d * e, 1)
        s_pre = tl.sum(g_e * pre[None, :], 1)
        s_trace = tl.sum(g_e * h, 1)
        d_eta = tl.sum(tl.sum(g_e * (increment - e), 1), 0)
        d_pre = eta * tl.sum(post[:, None] * g_e, 0)
        g_h = g_h - eta * c[:, None] * g_e
        g_e = r[:, None] * g_d + (1 - eta) * g_e
    else:
        s_pre = tl.sum(g_d * pre[None, :], 1)
        s_trace = tl.sum(g_d * h, 1)
        s_rate = post * s_pre - c * s_trace
        d_eta = eta * 0
        d_pre = tl.sum((r * post)[:, None] * g_d, 0)
        g_h = g_h - (r * c)[:, None] * g_d
    if kind.leak == "oja":
        s_pre = s_pre - 2 * post * s_trace
    if kind.retroactive:
        d_post = eta * s_pre
    else:
        d_post = r * s_pre
    return g_h, g_e, s_rate, d_post, d_pre, d_eta


@triton.jit
def _slope(m, kind: tl.constexpr):
    """Return the derivative of the neuromodulator's activation function, from its output M."""
    if kind.activation == "tanh":
        slope = 1 - m * m
    elif kind.activation == "sigmoid":
        slope = m * (1 - m)
    else:
        slope = m * 0 + 1
    return slope


@triton.jit
def _activity_backward(g_post, s_rate, post, m, net, saved, out, row, columns, kind: tl.constexpr):
    """Propagate gradients from the activity and the rates to the projected input and the product.

    Return the last two, and store the gradient of the neuromodulator's pre-activation.
    """
    column_mask = columns < kind.n
    if kind.activation != "none":
        if net.fan_out_weight is not None:
            s_rate = s_rate * tl.load(net.fan_out_weight + columns, column_mask, other=0)
        g_m = tl.sum(s_rate, 0) * _slope(m, kind)
        tl.store(out.modulator_pre_activation + row, g_m)
        g_post += g_m * tl.load(net.modulator_weight + columns, column_mask, other=0)
    g_total = g_post * (1 - post * post)
    g_projected = g_total
    if saved.mask is not None:
        clamped = tl.load(saved.mask + row * kind.n + columns, column_mask, other=0) != 0
        g_projected = tl.where(clamped, g_post, g_total)
        g_total = tl.where(clamped, 0, g_total)
    return g_projected, g_total


@triton.jit
def _product_backward(g_h, d_alpha, h, net, tile, tile_mask, pre, g_total):
    """Propagate gradients through the product (w + alpha * H) pre.

    Add the gradients of H and alpha to the given ones. Return these sums and the gradient of
    ``pre``. Each tile is loaded just before it is needed, because registers are scarce.
    """
    d_alpha += h * (g_total[:, None] * pre[None, :])
    a = tl.load(net.alpha + tile, tile_mask, other=0)
    g_h += a * (g_total[:, None] * pre[None, :])
    d_pre = tl.sum(g_total[:, None] * (a * h), 0)
    w = tl.load(net.weight + tile, tile_mask, other=0)
    return g_h, d_alpha, d_pre + tl.sum(g_total[:, None] * w, 0)


@triton.jit
def _before(saved, started, t, b, n_rows, columns, kind: tl.constexpr):
    """Return the activity before step t, which is zero if an episode starts there."""
    column_mask = (columns < kind.n) & (started == 0)
    given = tl.load(saved.hidden + b * kind.n + columns, column_mask & (t == 0), other=0)
    row = (t - 1) * n_rows + b
    return given + tl.load(saved.outputs + row * kind.n + columns, column_mask & (t > 0), other=0)


@triton.jit
def _targets(net, saved, eta, m, row, rows, kind: tl.constexpr):
    """Return the activity and the rates of the target neurons ``rows``."""
    post = tl.load(saved.outputs + row * kind.n + rows, rows < kind.n, other=0)
    return post, _rates(post, m, net, eta, rows, kind)


@triton.jit
def _recompute(
    net,
    saved,
    recomputed,
    eta,
    clip,
    b,
    slot,
    first,
    last,
    segment_length,
    n_rows,
    rows,
    columns,
    kind: tl.constexpr,
):
    """Compute the traces before the steps [first, last) again, and write them to ``recomputed``,
    from index ``slot`` on.
    """
    tile, tile_mask = _tile(rows, columns, kind)
    checkpoint = (first // segment_length) * n_rows + b
    h, e = _load_traces(saved.checkpoints, checkpoint, tile, tile_mask, kind)
    for t in range(first, last):
        row = t * n_rows + b
        started = tl.load(saved.starts + row) != 0
        h, e = _restarted(started, h, e, kind)
        _store_traces(recomputed, slot + t - first, tile, tile_mask, h, e, kind)
        pre = _before(saved, started, t, b, n_rows, columns, kind)
        m = tl.load(saved.modulation + row)
        post, r = _targets(net, saved, eta, m, row, rows, kind)
        h, e = _updated(h, e, pre, post, r, eta, clip, kind)


@triton.jit(do_not_specialize=SIZES)
def on_chip(
    net,
    saved,
    recomputed,
    g_outputs,
    out,
    n_steps,
    n_rows,
    segment_length,
    program_count,
    kind: tl.constexpr,
):
    """Run the rows of program p.

    Each program has its own part of ``recomputed``, and in ``out`` its own sums of the gradients of
    alpha (P, N, N) and eta (P,). ``out`` has the gradients of the final state at the beginning, and
    those of the initial state at the end.
    """
    p = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, kind.block)
    column_mask = columns < kind.n
    tile, tile_mask = _tile(columns, columns, kind)
    eta, clip = tl.load(net.eta), tl.load(net.clip)
    sum_eta = eta * 0
    block: tl.constexpr = kind.block
    sum_alpha = tl.zeros((block, block), eta.dtype)
    for turn in range((n_rows - p + program_count - 1) // program_count):
        b = p + turn * program_count
        g_post = tl.load(out.hidden + b * kind.n + columns, column_mask, other=0)
        g_h, g_e = _load_traces(out, b, tile, tile_mask, kind)
        for segment in range((n_steps + segment_length - 1) // segment_length):
            first = ((n_steps - 1) // segment_length - segment) * segment_length
            last = tl.minimum(first + segment_length, n_steps)
            tl.debug_barrier()  # every thread has read the recomputed traces
            _recompute(
                *(net, saved, recomputed, eta, clip, b, p * segment_length, first, last),
                *(segment_length, n_rows, columns, columns, kind),
            )
            tl.debug_barrier()
            for back in range(last - first):
                t = last - 1 - back
                row = t * n_rows + b
                started = tl.load(saved.starts + row) != 0
                pre = _before(saved, started, t, b, n_rows, columns, kind)
                m = tl.load(saved.modulation + row)
                post, r = _targets(net, saved, eta, m, row, columns, kind)
                h, e = _load_traces(
                    recomputed, p * segment_length + t - first, tile, tile_mask, kind
                )
                g_h, g_e, s_rate, s_post, g_pre, s_eta = _updated_backward(
                    g_h, g_e, h, e, pre, post, r, eta, clip, kind
                )
                sum_eta += s_eta
                g_post += s_post
                g_post += tl.load(g_outputs + row * kind.n + columns, column_mask, other=0)
                tl.store(out.rate + row * kind.n + columns, s_rate, column_mask)
                g_projected, g_total = _activity_backward(
                    g_post, s_rate, post, m, net, saved, out, row, columns, kind
                )
                tl.store(out.projected + row * kind.n + columns, g_projected, column_mask)
                g_h, sum_alpha, g_product = _product_backward(
                    g_h, sum_alpha, h, net, tile, tile_mask, pre, g_total
                )
                g_post = tl.where(started, 0, g_pre + g_product)
                g_h, g_e = _restarted(started, g_h, g_e, kind)
        tl.store(out.hidden + b * kind.n + columns, g_post, column_mask)
        _store_traces(out, b, tile, tile_mask, g_h, g_e, kind)
    tl.store(out.alpha + p * kind.n * kind.n + tile, sum_alpha, tile_mask)
    tl.store(out.eta + p, sum_eta)


@triton.jit(do_not_specialize=SIZES)
def tiled(
    net,
    saved,
    recomputed,
    g_outputs,
    out,
    n_steps,
    n_rows,
    segment_length,
    program_count,
    kind: tl.constexpr,
):
    """Do the same as ``on_chip``, with the trace in memory. ``out.alpha`` must be zero before.

    ``out.projected`` also holds vectors which one loop over the tiles computes for the next.
    """
    p = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, kind.block)
    column_mask = columns < kind.n
    eta, clip = tl.load(net.eta), tl.load(net.clip)
    sum_eta = eta * 0
    for turn in range((n_rows - p + program_count - 1) // program_count):
        b = p + turn * program_count
        g_post = tl.load(out.hidden + b * kind.n + columns, column_mask, other=0)
        for segment in range((n_steps + segment_length - 1) // segment_length):
            first = ((n_steps - 1) // segment_length - segment) * segment_length
            last = tl.minimum(first + segment_length, n_steps)
            for top in range(0, kind.n, kind.rows):
                _recompute(
                    *(net, saved, recomputed, eta, clip, b, p * segment_length, first, last),
                    *(segment_length, n_rows, top + tl.arange(0, kind.rows), columns, kind),
                )
            for back in range(last - first):
                t = last - 1 - back
                row = t * n_rows + b
                slot = p * segment_length + t - first
                started = tl.load(saved.starts + row) != 0
                pre = _before(saved, started, t, b, n_rows, columns, kind)
                m = tl.load(saved.modulation + row)

                # Propagate gradients through the update to the rates and, in part, the activity.
                g_pre = tl.zeros_like(g_post)
                tl.debug_barrier()  # every thread has written recomputed traces and gradients
                for top in range(0, kind.n, kind.rows):
                    rows = top + tl.arange(0, kind.rows)
                    tile, tile_mask = _tile(rows, columns, kind)
                    post, r = _targets(net, saved, eta, m, row, rows, kind)
                    h, e = _load_traces(recomputed, slot, tile, tile_mask, kind)
                    g_h, g_e = _load_traces(out, b, tile, tile_mask, kind)
                    g_h, g_e, s_rate, s_post, g_part, s_eta = _updated_backward(
                        g_h, g_e, h, e, pre, post, r, eta, clip, kind
                    )
                    sum_eta += s_eta
                    g_pre += g_part
                    tl.store(out.rate + row * kind.n + rows, s_rate, rows < kind.n)
                    tl.store(out.projected + row * kind.n + rows, s_post, rows < kind.n)
                    if kind.retroactive:
                        g_e = tl.where(started, 0, g_e)
                    _store_traces(out, b, tile, tile_mask, g_h, g_e, kind)
                tl.debug_barrier()

                # Propagate gradients from the activity to the projected input.
                g_post += tl.load(out.projected + row * kind.n + columns, column_mask, other=0)
                g_post += tl.load(g_outputs + row * kind.n + columns, column_mask, other=0)
                post = tl.load(saved.outputs + row * kind.n + columns, column_mask, other=0)
                s_rate = tl.load(out.rate + row * kind.n + columns, column_mask, other=0)
                g_projected, _ = _activity_backward(
                    g_post, s_rate, post, m, net, saved, out, row, columns, kind
                )
                tl.debug_barrier()
                tl.store(out.projected + row * kind.n + columns, g_projected, column_mask)
                tl.debug_barrier()

                # Propagate gradients through the product.
                for top in range(0, kind.n, kind.rows):
                    rows = top + tl.arange(0, kind.rows)
                    tile, tile_mask = _tile(rows, columns, kind)
                    g_total = tl.load(out.projected + row * kind.n + rows, rows < kind.n, other=0)
                    if saved.mask is not None:
                        clamped = tl.load(saved.mask + row * kind.n + rows, rows < kind.n, other=0)
                        g_total = tl.where(clamped != 0, 0, g_total)
                    at = tile + b * kind.n * kind.n
                    d_alpha = out.alpha + p * kind.n * kind.n + tile
                    h = tl.load(
                        recomputed.trace + slot * kind.n * kind.n + tile, tile_mask, other=0
                    )
                    g_h = tl.load(out.trace + at, tile_mask, other=0)
                    g_a = tl.load(d_alpha, tile_mask, other=0)
                    g_h, g_a, g_part = _product_backward(
                        g_h, g_a, h, net, tile, tile_mask, pre, g_total
                    )
                    g_pre += g_part
                    tl.store(out.trace + at, tl.where(started, 0, g_h), tile_mask)
                    tl.store(d_alpha, g_a, tile_mask)
                g_post = tl.where(started, 0, g_pre)
            tl.debug_barrier()  # every thread has read the recomputed traces
        tl.store(out.hidden + b * kind.n + columns, g_post, column_mask)
    tl.store(out.eta + p, sum_eta)
