"""The backward pass in Triton.

``triton_update`` explains the equations and names. ``g_x`` is the gradient of the loss with respect
to x, and ``s_x`` a part of it or a sum from which it is computed.
"""

from typing import NamedTuple

import triton
import triton.language as tl

from plasticrl.core.backends.triton_update import (
    SIZES,
    _change,
    _load,
    _load_traces,
    _moved,
    _net_of,
    _neurons,
    _only_if,
    _rates,
    _restarted,
    _store,
    _store_traces,
    _tile,
    _updated,
)


class Segment(NamedTuple):
    """The steps [first, last) of a row, and where the traces before ``first`` are stored."""

    first: tl.tensor
    last: tl.tensor
    checkpoint: tl.tensor
    """The index among the checkpoints."""
    slot: tl.tensor
    """The index among the recomputed traces."""


class Step(NamedTuple):
    """Step t of row b: t B + b, whether an episode starts, the activity before it, and M."""

    row: tl.tensor
    started: tl.tensor
    pre: tl.tensor
    m: tl.tensor


class Program(NamedTuple):
    """The number of a program's net, and the program's rows: first, first + stride ... < last."""

    net: tl.tensor
    first: tl.tensor
    last: tl.tensor
    stride: tl.tensor


@triton.jit
def _program(p, n_rows, net_rows):
    """Return the net and the rows of program p."""
    stride = tl.num_programs(0) * net_rows // n_rows
    net = p // stride
    return Program(net, net * net_rows + p % stride, (net + 1) * net_rows, stride)


@triton.jit
def _segment(n_later, n_steps, n_rows, segment_length, b):
    """Return the segment of row b after which there are ``n_later`` segments."""
    k = (n_steps - 1) // segment_length - n_later
    first = k * segment_length
    last = tl.minimum(first + segment_length, n_steps)
    return Segment(first, last, k * n_rows + b, tl.program_id(0).to(tl.int64) * segment_length)


@triton.jit
def _step(saved, t, b, n_rows, columns):
    """Load step t of row b."""
    row = t * n_rows + b
    started = tl.load(saved.starts + row) != 0
    pre = _load(saved.hidden, b, _only_if((t == 0) & (started == 0), columns))
    pre += _load(saved.outputs, row - n_rows, _only_if((t > 0) & (started == 0), columns))
    return Step(row, started, pre, tl.load(saved.modulation + row))


@triton.jit
def _targets(net, saved, step, rows):
    """Return the activity and the rates of the target neurons ``rows``."""
    post = _load(saved.outputs, step.row, rows)
    return post, _rates(post, step.m, net, rows)


@triton.jit
def _recompute(
    net, saved, recomputed, eta, clip, segment, b, n_rows, rows, columns, kind: tl.constexpr
):
    """Write a tile of the traces before each step of a segment to ``recomputed``."""
    tile = _tile(rows, columns, kind)
    h, e = _load_traces(saved.checkpoints, segment.checkpoint, tile, kind)
    for t in range(segment.first, segment.last):
        step = _step(saved, t, b, n_rows, columns)
        h, e = _restarted(step.started, h, e, kind)
        _store_traces(recomputed, segment.slot + t - segment.first, tile, h, e, kind)
        post, r = _targets(net, saved, step, rows)
        h, e = _updated(h, e, step.pre, post, r, eta, clip, kind)


@triton.jit
def _updated_backward(g_h, g_e, h, e, pre, post, r, eta, clip, kind: tl.constexpr):
    """Propagate gradients through ``_updated``, from those of the new H and E.

    Return the gradients of the old H and E, the rates, ``post``, ``pre`` and eta, in this order.
    """
    c, increment, d = _change(h, e, pre, post, r, kind)
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
    d_post = (eta if kind.retroactive else r) * s_pre
    return g_h, g_e, s_rate, d_post, d_pre, d_eta


@triton.jit
def _activity_backward(g_post, s_rate, post, step, net, saved, out, columns, kind: tl.constexpr):
    """Propagate gradients from the activity and the rates.

    Store the gradients of the neuromodulator's pre-activation and of the projected input, and
    return the latter.
    """
    if kind.activation != "none":
        if net.fan_out_weight is not None:
            s_rate = s_rate * _load(net.fan_out_weight, 0, columns)
        g_m = tl.sum(s_rate, 0)
        if kind.activation == "tanh":
            g_m *= 1 - step.m * step.m
        elif kind.activation == "sigmoid":
            g_m *= step.m * (1 - step.m)
        tl.store(out.modulator_pre_activation + step.row, g_m)
        g_post += g_m * _load(net.modulator_weight, 0, columns)
    g_projected = g_post * (1 - post * post)
    if saved.mask is not None:
        clamped = _load(saved.mask, step.row, columns) != 0
        g_projected = tl.where(clamped, g_post, g_projected)
    _store(out.projected, step.row, columns, g_projected)
    return g_projected


@triton.jit
def _product_backward(g_projected, g_h, d_alpha, h, step, net, saved, rows, tile):
    """Propagate gradients through the product (w + alpha * H) pre.

    Add the gradients of H and alpha to the given ones. Return these sums and the gradient of
    ``pre``. Each tile is loaded just before it is needed, because registers are scarce.
    """
    g_total, pre = g_projected, step.pre
    if saved.mask is not None:
        g_total = tl.where(_load(saved.mask, step.row, rows) != 0, 0, g_projected)
    d_alpha += h * (g_total[:, None] * pre[None, :])
    a = _load(net.alpha, 0, tile)
    g_h += a * (g_total[:, None] * pre[None, :])
    d_pre = tl.sum(g_total[:, None] * (a * h), 0)
    w = _load(net.weight, 0, tile)
    return g_h, d_alpha, d_pre + tl.sum(g_total[:, None] * w, 0)


@triton.jit(do_not_specialize=SIZES)
def on_chip(
    nets,
    saved,
    recomputed,
    g_outputs,
    out,
    n_steps,
    n_rows,
    net_rows,
    segment_length,
    kind: tl.constexpr,
):
    """Run the rows of program p.

    Each program has its own part of ``recomputed``, and in ``out`` its own sums of the gradients of
    alpha (P, N, N) and eta (P,). ``out`` has the gradients of the final state at the beginning, and
    those of the initial state at the end.
    """
    p = tl.program_id(0).to(tl.int64)
    program = _program(p, n_rows, net_rows)
    net = _net_of(nets, program.net, kind)
    columns = _neurons(tl.arange(0, kind.block), kind)
    tile = _tile(columns, columns, kind)
    eta, clip = tl.load(net.eta), tl.load(net.clip)
    sum_eta = eta * 0
    block: tl.constexpr = kind.block
    sum_alpha = tl.zeros((block, block), eta.dtype)
    for b in range(program.first, program.last, program.stride):
        g_post = _load(out.hidden, b, columns)
        g_h, g_e = _load_traces(out, b, tile, kind)
        for n_later in range(tl.cdiv(n_steps, segment_length)):
            segment = _segment(n_later, n_steps, n_rows, segment_length, b)
            tl.debug_barrier()  # every thread has read the recomputed traces
            _recompute(
                net, saved, recomputed, eta, clip, segment, b, n_rows, columns, columns, kind
            )
            tl.debug_barrier()
            for t in range(segment.last - 1, segment.first - 1, -1):
                step = _step(saved, t, b, n_rows, columns)
                post, r = _targets(net, saved, step, columns)
                h, e = _load_traces(recomputed, segment.slot + t - segment.first, tile, kind)
                g_h, g_e, s_rate, s_post, g_pre, s_eta = _updated_backward(
                    g_h, g_e, h, e, step.pre, post, r, eta, clip, kind
                )
                sum_eta += s_eta
                g_post += s_post
                g_post += _load(g_outputs, step.row, columns)
                _store(out.rate, step.row, columns, s_rate)
                g_projected = _activity_backward(
                    g_post, s_rate, post, step, net, saved, out, columns, kind
                )
                g_h, sum_alpha, g_product = _product_backward(
                    g_projected, g_h, sum_alpha, h, step, net, saved, columns, tile
                )
                g_post = tl.where(step.started, 0, g_pre + g_product)
                g_h, g_e = _restarted(step.started, g_h, g_e, kind)
        _store(out.hidden, b, columns, g_post)
        _store_traces(out, b, tile, g_h, g_e, kind)
    _store(out.alpha, p, tile, sum_alpha)
    tl.store(out.eta + p, sum_eta)


@triton.jit
def _tiles_updated_backward(
    d_eta, net, saved, recomputed, slot, out, step, b, eta, clip, columns, kind: tl.constexpr
):
    """Propagate gradients through the update of all tiles, which changes those in ``out``.

    Store the gradient of the rates in ``out.rate`` and that of the activity in ``out.projected``.
    Return the gradients of the activity before the step, and of eta, added to the given one.
    """
    g_pre = tl.zeros_like(step.pre)
    for top in range(0, kind.n, kind.rows):
        rows = _neurons(top + tl.arange(0, kind.rows), kind)
        tile = _tile(rows, columns, kind)
        post, r = _targets(net, saved, step, rows)
        h, e = _load_traces(recomputed, slot, tile, kind)
        g_h, g_e = _load_traces(out, b, tile, kind)
        g_h, g_e, s_rate, s_post, g_part, s_eta = _updated_backward(
            g_h, g_e, h, e, step.pre, post, r, eta, clip, kind
        )
        d_eta += s_eta
        g_pre += g_part
        _store(out.rate, step.row, rows, s_rate)
        _store(out.projected, step.row, rows, s_post)
        if kind.retroactive:
            g_e = tl.where(step.started, 0, g_e)
        _store_traces(out, b, tile, g_h, g_e, kind)
    return g_pre, d_eta


@triton.jit
def _tiles_multiplied_backward(
    g_pre, net, saved, recomputed, slot, out, step, b, p, columns, kind: tl.constexpr
):
    """Propagate gradients through the product of all tiles, which changes those in ``out``.

    Return the gradient of the activity before the step, added to the given one.
    """
    for top in range(0, kind.n, kind.rows):
        rows = _neurons(top + tl.arange(0, kind.rows), kind)
        tile = _tile(rows, columns, kind)
        g_projected = _load(out.projected, step.row, rows)
        h = _load(recomputed.trace, slot, tile)
        g_h = _load(out.trace, b, tile)
        d_alpha = _load(out.alpha, p, tile)
        g_h, d_alpha, g_part = _product_backward(
            g_projected, g_h, d_alpha, h, step, net, saved, rows, tile
        )
        g_pre += g_part
        _store(out.trace, b, tile, tl.where(step.started, 0, g_h))
        _store(out.alpha, p, tile, d_alpha)
    return g_pre


@triton.jit(do_not_specialize=SIZES)
def tiled(
    nets,
    saved,
    recomputed,
    g_outputs,
    out,
    n_steps,
    n_rows,
    net_rows,
    segment_length,
    kind: tl.constexpr,
):
    """Do the same as ``on_chip``, with the trace in memory. ``out.alpha`` must be zero before.

    ``out.projected`` also holds vectors which one loop over the tiles computes for the next.
    """
    p = tl.program_id(0).to(tl.int64)
    program = _program(p, n_rows, net_rows)
    net = _net_of(nets, program.net, kind)
    columns = _neurons(tl.arange(0, kind.block), kind)
    eta, clip = tl.load(net.eta), tl.load(net.clip)
    sum_eta = eta * 0
    for b in range(program.first, program.last, program.stride):
        g_post = _load(out.hidden, b, columns)
        for n_later in range(tl.cdiv(n_steps, segment_length)):
            segment = _segment(n_later, n_steps, n_rows, segment_length, b)
            for top in range(0, kind.n, kind.rows):
                rows = _neurons(top + tl.arange(0, kind.rows), kind)
                _recompute(
                    net, saved, recomputed, eta, clip, segment, b, n_rows, rows, columns, kind
                )
            for t in range(segment.last - 1, segment.first - 1, -1):
                step = _step(saved, t, b, n_rows, columns)
                slot = segment.slot + t - segment.first
                tl.debug_barrier()  # every thread has written recomputed traces and gradients
                g_pre, sum_eta = _tiles_updated_backward(
                    *(sum_eta, net, saved, recomputed, slot, out, step, b, eta, clip, columns, kind)
                )
                tl.debug_barrier()
                g_post += _load(out.projected, step.row, columns)
                g_post += _load(g_outputs, step.row, columns)
                post = _load(saved.outputs, step.row, columns)
                s_rate = _load(out.rate, step.row, columns)
                tl.debug_barrier()
                _activity_backward(g_post, s_rate, post, step, net, saved, out, columns, kind)
                tl.debug_barrier()
                g_pre = _tiles_multiplied_backward(
                    g_pre, net, saved, recomputed, slot, out, step, b, p, columns, kind
                )
                g_post = tl.where(step.started, 0, g_pre)
            tl.debug_barrier()  # every thread has read the recomputed traces
        _store(out.hidden, b, columns, g_post)
    tl.store(out.eta + p, sum_eta)
