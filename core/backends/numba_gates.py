"""The gates of the plastic LSTM, around the plastic connection that computes its candidate.

A plastic RNN and a plastic LSTM share the loops over steps and connections. They differ in how the
activity follows from the projected input I(t) and the product p(t) = (w + alpha * H) h(t-1). For
the RNN, h(t) = tanh( I(t) + p(t) ). The LSTM has three gates i, f and o and a candidate g, each of
N numbers. I(t) has a block of N numbers for each of them:

    i = sigmoid( I_i(t) + b_i + V_i h(t-1) ), and in the same way f and o
    g = tanh( I_g(t) + p(t) )
    c(t) = f c(t-1) + i g
    h(t) = o tanh( c(t) )

where sigmoid(x) = ( 1 + tanh(x / 2) ) / 2. The arrays ``gates`` (4N,) and I(t) have the blocks in
the order i, f, g, o, and the rows of V (3N, P) and b (3N,), the recurrent bias, in the order i, f,
o. The post-synaptic activity of the update is g, and the pre-synaptic one is h(t-1).
"""

from numba import njit

from plasticrl.core.backends.numba_update import INLINED, INNER, copy, tanh


@njit(**INNER)
def _add_gate_products(gates, parameters, pre, n):
    """Add b + V h to the projected inputs of the gates i, f and o."""
    weight, bias = parameters.gates_weight, parameters.gates_bias
    zero = weight.dtype.type(0)
    for j in range(n):
        sum_i, sum_f, sum_o = zero, zero, zero
        for i in range(weight.shape[1]):
            x = pre[i]
            sum_i += weight[j, i] * x
            sum_f += weight[n + j, i] * x
            sum_o += weight[2 * n + j, i] * x
        gates[j] += bias[j] + sum_i
        gates[n + j] += bias[n + j] + sum_f
        gates[3 * n + j] += bias[2 * n + j] + sum_o


@njit(**INNER)
def _activate(gates, cell, hidden, n):
    """Replace the pre-activations in ``gates`` by their activity, and compute cell and hidden."""
    half = gates.dtype.type(0.5)
    candidate, output = 2 * n, 3 * n  # where the blocks of g and o begin
    for j in range(candidate):
        gates[j] *= half
    for j in range(output, 4 * n):
        gates[j] *= half
    tanh(gates, 4 * n)
    for j in range(candidate):
        gates[j] = half + half * gates[j]
    for j in range(output, 4 * n):
        gates[j] = half + half * gates[j]
    for j in range(n):
        cell[j] = gates[n + j] * cell[j] + gates[j] * gates[2 * n + j]
        hidden[j] = cell[j]
    tanh(hidden, n)
    for j in range(n):
        hidden[j] *= gates[3 * n + j]


@njit(**INLINED)
def gated_activity(v, parameters, product, n):
    """Compute the activity of a step.

    Args:
        v: the vectors of a row. ``gates`` holds the projected inputs I(t), which the activity of
            the gates replaces; ``cell`` holds c(t-1), which c(t) replaces; ``hidden`` and ``post``
            are set to h(t) and g(t); ``pre`` holds h(t-1).
        product: p(t), which can be the array ``post``.
    """
    _add_gate_products(v.gates, parameters, v.pre, n)
    for j in range(n):
        v.gates[2 * n + j] += product[j]
    _activate(v.gates, v.cell, v.hidden, n)
    copy(v.post, v.gates[2 * n :], n)


@njit(**INNER)
def gates_reverse(v, gates, cell, g_projected, n):
    """Propagate gradients from hidden, cell and candidate to the pre-activations, and to c(t-1).

    Args:
        v: the vectors of a row. ``g_output`` and ``g_post`` hold the gradients of h(t) and g(t),
            ``g_cell`` that of c(t), which that of c(t-1) replaces; ``cell_before`` holds c(t-1);
            ``tanh_cell`` is working memory.
        gates, cell: the activity of the gates (4N,) and the cell (N,) at t.
        g_projected: (4N,), set to the gradients of the pre-activations, which are those of I(t).
    """
    one = cell.dtype.type(1)
    copy(v.tanh_cell, cell, n)
    tanh(v.tanh_cell, n)
    for j in range(n):
        i, f, g, o = gates[j], gates[n + j], gates[2 * n + j], gates[3 * n + j]
        x, g_hidden = v.tanh_cell[j], v.g_output[j]
        g_cell = v.g_cell[j] + g_hidden * o * (one - x * x)
        g_projected[j] = g_cell * g * i * (one - i)
        g_projected[n + j] = g_cell * v.cell_before[j] * f * (one - f)
        g_projected[2 * n + j] = (v.g_post[j] + g_cell * i) * (one - g * g)
        g_projected[3 * n + j] = g_hidden * x * o * (one - o)
        v.g_cell[j] = g_cell * f


@njit(**INNER)
def gate_products_reverse(parameters, g_projected, g_pre, n):
    """Add the gradient of h(t-1) through the gates i, f and o to ``g_pre``."""
    weight = parameters.gates_weight
    for j in range(n):
        g_i, g_f, g_o = g_projected[j], g_projected[n + j], g_projected[3 * n + j]
        for i in range(weight.shape[1]):
            g_pre[i] += weight[j, i] * g_i + weight[n + j, i] * g_f + weight[2 * n + j, i] * g_o
