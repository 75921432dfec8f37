"""The forward pass in Triton.

``triton_update`` explains the equations and names.
"""

import triton
import triton.language as tl

from plasticrl.core.backends.triton_update import (
    SIZES,
    _load,
    _load_traces,
    _modulation,
    _net_of,
    _neurons,
    _only_if,
    _rates,
    _restarted,
    _store,
    _store_traces,
    _tanh,
    _tile,
    _updated,
)


@triton.jit
def _keep_checkpoint(checkpoints, h, e, t, b, n_rows, segment_length, tile, kind: tl.constexpr):
    """Store a tile of H and E if a segment begins at step t and there are checkpoints."""
    if checkpoints.trace is not None:
        index = (t // segment_length) * n_rows + b
        begins = t % segment_length == 0
        _store_traces(checkpoints, index, _only_if(begins, tile), h, e, kind)


@triton.jit
def _activity(net, sequence, pre, h, row, rows, tile):
    """Return the activity of the target neurons ``rows``."""
    w = _load(net.weight, 0, tile)
    a = _load(net.alpha, 0, tile)
    total = tl.sum((w + a * h) * pre[None, :], 1)
    given = _load(sequence.projected, row, rows)
    if sequence.mask is None:
        post = _tanh(given + total)
    else:
        post = tl.where(_load(sequence.mask, row, rows) != 0, given, _tanh(total))
    return post


@triton.jit(do_not_specialize=SIZES)
def on_chip(
    nets, sequence, hidden, out, n_steps, n_rows, net_rows, segment_length, kind: tl.constexpr
):
    """Run row b in program b. The final traces overwrite the initial ones in ``out``."""
    b = tl.program_id(0).to(tl.int64)
    net = _net_of(nets, b // net_rows, kind)
    columns = _neurons(tl.arange(0, kind.block), kind)
    tile = _tile(columns, columns, kind)
    eta, clip = tl.load(net.eta), tl.load(net.clip)
    pre = _load(hidden, b, columns)
    h, e = _load_traces(out, b, tile, kind)
    tl.debug_barrier()  # every thread has read the initial traces
    for t in range(n_steps):
        row = t * n_rows + b
        started = tl.load(sequence.starts + row) != 0
        pre = tl.where(started, 0, pre)
        h, e = _restarted(started, h, e, kind)
        _keep_checkpoint(out.checkpoints, h, e, t, b, n_rows, segment_length, tile, kind)
        post = _activity(net, sequence, pre, h, row, columns, tile)
        _store(out.outputs, row, columns, post)
        m = _modulation(post, net, eta, columns, kind)
        tl.store(out.modulation + row, m)
        h, e = _updated(h, e, pre, post, _rates(post, m, net, columns), eta, clip, kind)
        pre = post
    _store_traces(out, b, tile, h, e, kind)


@triton.jit(do_not_specialize=SIZES)
def tiled(
    nets, sequence, hidden, out, n_steps, n_rows, net_rows, segment_length, kind: tl.constexpr
):
    """Do the same as ``on_chip``, with the trace in memory."""
    b = tl.program_id(0).to(tl.int64)
    net = _net_of(nets, b // net_rows, kind)
    columns = _neurons(tl.arange(0, kind.block), kind)
    eta, clip = tl.load(net.eta), tl.load(net.clip)
    pre = _load(hidden, b, columns)
    before = pre  # the activity one step before ``pre``
    m = eta
    for t in range(n_steps + 1):  # the last pass only computes the update
        row = t * n_rows + b
        now = t < n_steps
        started = tl.load(sequence.starts + row, now, other=0) != 0
        pre = tl.where(started, 0, pre)
        for top in range(0, kind.n, kind.rows):
            rows = _neurons(top + tl.arange(0, kind.rows), kind)
            tile = _tile(rows, columns, kind)
            h, e = _load_traces(out, b, tile, kind)
            post = _load(out.outputs, row - n_rows, _only_if(t > 0, rows))
            r = _rates(post, m, net, rows)
            new_h, new_e = _updated(h, e, before, post, r, eta, clip, kind)
            h, e = tl.where(t > 0, new_h, h), tl.where(t > 0, new_e, e)
            h, e = _restarted(started, h, e, kind)
            _store_traces(out, b, tile, h, e, kind)
            kept, rows = _only_if(now, tile), _only_if(now, rows)
            _keep_checkpoint(out.checkpoints, h, e, t, b, n_rows, segment_length, kept, kind)
            _store(out.outputs, row, rows, _activity(net, sequence, pre, h, row, rows, tile))
        tl.debug_barrier()
        before = pre
        pre = _load(out.outputs, row, _only_if(now, columns))
        m = _modulation(pre, net, eta, columns, kind)
        tl.store(out.modulation + row, m, now)
