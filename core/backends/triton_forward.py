"""The forward pass in Triton.

``triton_update`` explains the equations and names.
"""

import triton
import triton.language as tl

from plasticrl.core.backends.triton_update import (
    SIZES,
    _load_traces,
    _modulation,
    _rates,
    _restarted,
    _store_traces,
    _tanh,
    _tile,
    _updated,
)


@triton.jit
def _activity(net, sequence, pre, h, row, rows, row_mask, tile, tile_mask, kind: tl.constexpr):
    """Return the activity of the target neurons ``rows``, from H before the step."""
    w = tl.load(net.weight + tile, tile_mask, other=0)
    a = tl.load(net.alpha + tile, tile_mask, other=0)
    total = tl.sum((w + a * h) * pre[None, :], 1)
    given = tl.load(sequence.projected + row * kind.n + rows, row_mask, other=0)
    if sequence.mask is None:
        post = _tanh(given + total)
    else:
        clamped = tl.load(sequence.mask + row * kind.n + rows, row_mask, other=0) != 0
        post = tl.where(clamped, given, _tanh(total))
    return post


@triton.jit(do_not_specialize=SIZES)
def on_chip(
    net,
    sequence,
    state,
    outputs,
    modulation,
    checkpoints,
    n_steps,
    n_rows,
    segment_length,
    kind: tl.constexpr,
):
    """Run row b in program b. The final traces overwrite the initial ones in ``state``."""
    b = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, kind.block)
    column_mask = columns < kind.n
    tile, tile_mask = _tile(columns, columns, kind)
    eta, clip = tl.load(net.eta), tl.load(net.clip)
    pre = tl.load(state.hidden + b * kind.n + columns, column_mask, other=0)
    h, e = _load_traces(state, b, tile, tile_mask, kind)
    tl.debug_barrier()  # every thread has read the initial traces
    for t in range(n_steps):
        row = t * n_rows + b
        started = tl.load(sequence.starts + row) != 0
        pre = tl.where(started, 0, pre)
        h, e = _restarted(started, h, e, kind)
        if checkpoints.trace is not None:
            keep = tile_mask & (t % segment_length == 0)
            _store_traces(checkpoints, (t // segment_length) * n_rows + b, tile, keep, h, e, kind)
        post = _activity(net, sequence, pre, h, row, columns, column_mask, tile, tile_mask, kind)
        tl.store(outputs + row * kind.n + columns, post, column_mask)
        m = eta
        if kind.activation != "none":
            m = _modulation(post, net, columns, kind)
        tl.store(modulation + row, m)
        r = _rates(post, m, net, eta, columns, kind)
        h, e = _updated(h, e, pre, post, r, eta, clip, kind)
        pre = post
    _store_traces(state, b, tile, tile_mask, h, e, kind)


@triton.jit(do_not_specialize=SIZES)
def tiled(
    net,
    sequence,
    state,
    outputs,
    modulation,
    checkpoints,
    n_steps,
    n_rows,
    segment_length,
    kind: tl.constexpr,
):
    """Run row b in program b. The final traces overwrite the initial ones in ``state``."""
    b = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, kind.block)
    column_mask = columns < kind.n
    eta, clip = tl.load(net.eta), tl.load(net.clip)
    pre = tl.load(state.hidden + b * kind.n + columns, column_mask, other=0)
    before = pre  # from now on, the activity one step before ``pre``
    m = eta
    for t in range(n_steps + 1):  # the last pass only computes the update
        row = t * n_rows + b
        now = t < n_steps
        started = tl.load(sequence.starts + row, now, other=0) != 0
        pre = tl.where(started, 0, pre)
        for top in range(0, kind.n, kind.rows):
            rows = top + tl.arange(0, kind.rows)
            row_mask = rows < kind.n
            tile, tile_mask = _tile(rows, columns, kind)
            h, e = _load_traces(state, b, tile, tile_mask, kind)
            post = tl.load(outputs + (row - n_rows) * kind.n + rows, row_mask & (t > 0), other=0)
            r = _rates(post, m, net, eta, rows, kind)
            new_h, new_e = _updated(h, e, before, post, r, eta, clip, kind)
            h, e = tl.where(t > 0, new_h, h), tl.where(t > 0, new_e, e)
            h, e = _restarted(started, h, e, kind)
            _store_traces(state, b, tile, tile_mask, h, e, kind)
            if checkpoints.trace is not None:
                keep = tile_mask & (now & (t % segment_length == 0))
                _store_traces(
                    checkpoints, (t // segment_length) * n_rows + b, tile, keep, h, e, kind
                )
            post = _activity(
                net, sequence, pre, h, row, rows, row_mask & now, tile, tile_mask, kind
            )
            tl.store(outputs + row * kind.n + rows, post, row_mask & now)
        tl.debug_barrier()
        before = pre
        pre = tl.load(outputs + row * kind.n + columns, column_mask & now, other=0)
        if kind.activation != "none":
            m = _modulation(pre, net, columns, kind)
        tl.store(modulation + row, m, now)
