"""What the Triton loops share: the update of a tile of a trace, its reverse, vectors of neurons.

Every rule and bound is one of two updates, with a leak c per target neuron (c = 0 for Hebb,
x_j^2 for Oja; a decaying trace is Hebb with c = 1):

    increment     D[j, i] = x_j(t) x_i(t-1) - c_j H[j, i]
    linear        H <- clamp( H + d, -clip, clip ),         d = r_j D       clip = inf: no bound
    soft          H <- clamp( H + d - |d| H, -1, 1 )

Under retroactive modulation d = r_j E, and then E <- E + eta (D - E).

The passes are in ``triton_forward`` and ``triton_backward``, one program per batch row. ``on_chip``
holds a row's trace in registers, as one (BLOCK, BLOCK) tile, for the whole sequence; a step reads
only weights, alpha and vectors from memory. ``tiled``, for more neurons, passes over a trace in
memory, (ROWS, BLOCK) at a time. Tiles are masked to N neurons.

Names: B rows, T steps, N neurons, G steps between checkpoints (``spacing``), P programs of the
backward pass (``sharing``), which take the rows p, p + P, p + 2 P ... Shapes are in
``plastic_net``; ``clip`` and ``eta`` are one number each, ``mask`` and ``starts`` bytes,
``checkpoints`` (T / G, B, N, N), ``recomputed`` (P, G, N, N). All tensors are contiguous, and None
where the net has no such parameter. N is known at compilation, so that addresses are constants and
leave the registers to the tiles.

Several threads may hold the same number, and only one of them writes it. So a barrier is needed
between writing and reading, and also between reading and overwriting.
"""

import triton
import triton.language as tl

SIZES = ["n_steps", "n_rows", "spacing", "sharing"]  # one compilation for all of them


@triton.jit
def _tanh(x):
    """By the continued fraction x / (1 + x^2 / (3 + x^2 / ...)) where x is small, else by exp."""
    y = x * x
    small = x / (1 + y / (3 + y / (5 + y / (7 + y / (9 + y / 11)))))
    e = tl.exp(-2 * tl.abs(x))
    large = (1 - e) / (1 + e)
    return tl.where(tl.abs(x) < 0.25, small, tl.where(x < 0, -large, large))


@triton.jit
def _modulation(post, modulator_weight, modulator_bias, columns, inside, ACTIVATION: tl.constexpr):
    """M, from the activity (BLOCK,)."""
    total = tl.sum(post * tl.load(modulator_weight + columns, inside, other=0), 0) + tl.load(
        modulator_bias
    )
    if ACTIVATION == "tanh":
        total = _tanh(total)
    elif ACTIVATION == "sigmoid":
        total = 1 / (1 + tl.exp(-total))
    return total


@triton.jit
def _slope(m, ACTIVATION: tl.constexpr):
    """The derivative of the modulator's output function where its value is M."""
    if ACTIVATION == "tanh":
        slope = 1 - m * m
    elif ACTIVATION == "sigmoid":
        slope = m * (1 - m)
    else:
        slope = m * 0 + 1
    return slope


@triton.jit
def _rates(post, m, eta, fan_out_weight, fan_out_bias, rows, inside, ACTIVATION: tl.constexpr):
    """The rates r of the target neurons ``rows``, like their activity."""
    if ACTIVATION == "none":
        rates = tl.zeros_like(post) + eta
    elif fan_out_weight is None:
        rates = tl.zeros_like(post) + m
    else:
        f = tl.load(fan_out_weight + rows, inside, other=0)
        rates = f * m + tl.load(fan_out_bias + rows, inside, other=0)
    return rates


@triton.jit
def _leaks(post, LEAK: tl.constexpr):
    """The leaks c of target neurons with this activity; LEAK: "hebb", "oja" or "decay"."""
    if LEAK == "oja":
        leaks = post * post
    elif LEAK == "decay":
        leaks = tl.zeros_like(post) + 1
    else:
        leaks = tl.zeros_like(post)
    return leaks


@triton.jit
def _moved(h, d, SOFT: tl.constexpr):
    """The trace after a change d, not yet clipped."""
    if SOFT:
        h = h + d - tl.abs(d) * h
    else:
        h = h + d
    return h


@triton.jit
def _updated(h, e, pre, post, r, c, eta, clip, SOFT: tl.constexpr, RETROACTIVE: tl.constexpr):
    """H and E of the target neurons with these ``post``, r and c after the update of a step."""
    increment = post[:, None] * pre[None, :] - c[:, None] * h
    if RETROACTIVE:
        d = r[:, None] * e
        e = e + eta * (increment - e)
    else:
        d = r[:, None] * increment
    h = _moved(h, d, SOFT)
    h = tl.where(h > clip, clip, tl.where(h < -clip, -clip, h))  # NaN stays
    return h, e


@triton.jit
def _updated_backward(
    g_h, g_e, h, e, pre, post, r, c, eta, clip, SOFT: tl.constexpr, RETROACTIVE: tl.constexpr
):
    """Through ``_updated`` of this H and E, from the gradients of the H and E that it gave.

    Returns those of H and E; of the rates; sums over i of the gradients of D times pre and times H;
    and the gradients of eta and of ``pre``.
    """
    increment = post[:, None] * pre[None, :] - c[:, None] * h
    if RETROACTIVE:
        d = r[:, None] * e
    else:
        d = r[:, None] * increment
    g_d = tl.where(tl.abs(_moved(h, d, SOFT)) <= clip, g_h, 0)
    g_h = g_d
    if SOFT:
        g_d = g_d * (1 - tl.where(d > 0, h, tl.where(d < 0, -h, 0)))
        g_h = g_h * (1 - tl.abs(d))
    if RETROACTIVE:
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
    return g_h, g_e, s_rate, s_pre, s_trace, d_eta, d_pre


@triton.jit
def _through_increment(post, r, eta, s_pre, s_trace, LEAK: tl.constexpr, RETROACTIVE: tl.constexpr):
    """The gradient of the post-synaptic activity in D, from the sums over its row."""
    if LEAK == "oja":
        s_pre = s_pre - 2 * post * s_trace
    if RETROACTIVE:
        g_post = eta * s_pre
    else:
        g_post = r * s_pre
    return g_post


@triton.jit
def _through_rates(s_rate, m, fan_out_weight, columns, inside, ACTIVATION: tl.constexpr):
    """The gradient of what the modulator's output function reads, from those of all rates."""
    if fan_out_weight is not None:
        s_rate = s_rate * tl.load(fan_out_weight + columns, inside, other=0)
    return tl.sum(s_rate, 0) * _slope(m, ACTIVATION)


@triton.jit
def _product_backward(g_h, d_alpha, h, weight, alpha, tile, within, pre, g_total):
    """Through (w + a H) pre; returns the gradients of H, of alpha (added to it) and of pre.

    No tile is loaded before it is needed: registers are scarce.
    """
    d_alpha += h * (g_total[:, None] * pre[None, :])
    a = tl.load(alpha + tile, within, other=0)
    g_h += a * (g_total[:, None] * pre[None, :])
    d_pre = tl.sum(g_total[:, None] * (a * h), 0)
    w = tl.load(weight + tile, within, other=0)
    return g_h, d_alpha, d_pre + tl.sum(g_total[:, None] * w, 0)


@triton.jit
def _before(x, hidden, started, t, b, n_rows, columns, inside, N: tl.constexpr):
    """The activity before step t: zero where an episode starts."""
    inside = inside & (started == 0)
    given = tl.load(hidden + b * N + columns, inside & (t == 0), other=0)
    earlier = tl.load(x + ((t - 1) * n_rows + b) * N + columns, inside & (t > 0), other=0)
    return given + earlier


@triton.jit
def _recompute(
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
    slot,
    first,
    last,
    spacing,
    n_rows,
    rows,
    columns,
    SOFT: tl.constexpr,
    RETROACTIVE: tl.constexpr,
    LEAK: tl.constexpr,
    ACTIVATION: tl.constexpr,
    N: tl.constexpr,
):
    """Writes the traces before the steps [first, last) to ``recomputed``, from ``slot`` on."""
    tile = rows[:, None] * N + columns[None, :]
    within = (rows < N)[:, None] & (columns < N)[None, :]
    at = ((first // spacing) * n_rows + b) * N * N
    h = tl.load(checkpoints + at + tile, within, other=0)
    e = h
    if RETROACTIVE:
        e = tl.load(eligibility_checkpoints + at + tile, within, other=0)
    for t in range(first, last):
        row = t * n_rows + b
        started = tl.load(starts + row) != 0
        h = tl.where(started, 0, h)
        to = (slot + t - first) * N * N
        tl.store(recomputed + to + tile, h, within)
        if RETROACTIVE:
            e = tl.where(started, 0, e)
            tl.store(recomputed_eligibility + to + tile, e, within)
        pre = _before(x, hidden, started, t, b, n_rows, columns, columns < N, N)
        post = tl.load(x + row * N + rows, rows < N, other=0)
        r = _rates(
            post,
            tl.load(modulation + row),
            eta,
            fan_out_weight,
            fan_out_bias,
            rows,
            rows < N,
            ACTIVATION,
        )
        h, e = _updated(h, e, pre, post, r, _leaks(post, LEAK), eta, clip, SOFT, RETROACTIVE)
