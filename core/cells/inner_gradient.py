"""A net whose connections follow the gradient of a loss of its own while it lives.

The net has a layer of ReLU units, a recurrent layer of ReLU units, and an output layer. All
connections and biases are plastic. From the input u(t) and the activity x(t-1), it computes

    v  = relu( W_1 [u, 1] )         x = relu( W_2 [v, x(t-1), 1] )         o = W_3 [x, 1]

where each W is w + alpha * H. The first N entries of o are the cell's output, and the last one is
the modulator m. The traces H of the three layers change together:

    r  = 0.2 sigmoid(m)             H <- (1 - r) H + r min( 1, 1 / |D| ) D

|D| is the length of all increments of a row of the batch. The rule ``gradient`` takes D from the
inner loss, with trained factors s, and with x(t-1) as a constant:

    L  = mean_j ( s_j o_j )^2
    D  = dL/dW:   D_3 = g_o [x, 1]^T,   D_2 = g_x [v, x(t-1), 1]^T,   D_1 = g_v [u, 1]^T

    g_o = (2 / n) s^2 o,   g_x = (W_3^T g_o) [x > 0],   g_v = (W_2^T g_x) [v > 0]

where n is the number of outputs. The rule ``hebb`` has D = post pre^T in each layer, and 0 for
biases. The outer gradient passes through all of this.

Source: Duan, Jia & Ito 2023, "Hebbian and gradient-based plasticity enables robust memory and rapid
learning in RNNs" (arXiv 2302.03235), with the sizes and limits of the authors' published code. The
norm is that of each row of the batch by itself, so that a result does not depend on the others.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.configs import InnerGradientConfig
from plasticrl.core.connection import Connection

N_EXTRA = 4
"""Entries of o that are in the inner loss, but are not outputs of the cell."""
MOST_RATE = 0.2


class InnerGradientState(NamedTuple):
    """hidden (B, X), and the traces of the three layers, each (B, O, I + 1) with their biases."""

    hidden: Tensor
    trace: Tensor
    """of the recurrent layer"""
    input_trace: Tensor
    output_trace: Tensor


class PlasticLayer(Connection):
    """Weights with the biases as a last column, and an alpha for each."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        limit = 1 / math.sqrt(n_outputs)
        shape = (n_outputs, n_inputs + 1)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-limit, limit))
        self.alpha = nn.Parameter(torch.empty(shape).uniform_(-1.0, 1.0))

    def forward(self, trace: Tensor) -> Tensor:
        """Return w + alpha * H, (B, O, I + 1)."""
        return self.weight + self.alpha * trace


class InnerGradient(Cell[InnerGradientState]):
    """The net with inner plasticity.

    Attributes:
        loss_scale: s, one for each entry of o; None with the rule ``hebb``.
    """

    connection: PlasticLayer

    def __init__(self, input_size: int, config: InnerGradientConfig) -> None:
        super().__init__(input_size, config.hidden_size, config)
        self.inner_size, n_outputs = config.inner_size, config.hidden_size + N_EXTRA + 1
        self.input = PlasticLayer(input_size, self.inner_size)
        self.connection = PlasticLayer(2 * self.inner_size, self.inner_size)
        self.output = PlasticLayer(self.inner_size, n_outputs)
        follows_gradient = config.inner_rule == "gradient"
        self.loss_scale = nn.Parameter(torch.ones(n_outputs)) if follows_gradient else None

    def initial_state(self, batch_size: int) -> InnerGradientState:
        weight = self.connection.weight
        hidden = weight.new_zeros(batch_size, self.inner_size)
        layers = (self.connection, self.input, self.output)
        traces = (weight.new_zeros(batch_size, *layer.weight.shape) for layer in layers)
        return InnerGradientState(hidden, *traces)

    def step(
        self, projected: Tensor, state: InnerGradientState
    ) -> tuple[Tensor, InnerGradientState]:
        one = torch.ones_like(projected[:, :1])
        pre_1 = torch.cat([projected, one], dim=1)
        weights_1 = self.input(state.input_trace)
        first = torch.relu(_times(weights_1, pre_1))
        pre_2 = torch.cat([first, state.hidden, one], dim=1)
        weights_2 = self.connection(state.trace)
        hidden = torch.relu(_times(weights_2, pre_2))
        pre_3 = torch.cat([hidden, one], dim=1)
        weights_3 = self.output(state.output_trace)
        outputs = _times(weights_3, pre_3)

        if self.loss_scale is None:
            posts = (first, hidden, outputs)
            pres = tuple(torch.cat([pre[:, :-1], 0 * one], dim=1) for pre in (pre_1, pre_2, pre_3))
        else:
            to_outputs = 2 / outputs.shape[1] * self.loss_scale**2 * outputs
            to_hidden = _times(weights_3.mT, to_outputs)[:, : self.inner_size] * (hidden > 0)
            to_first = _times(weights_2.mT, to_hidden)[:, : self.inner_size] * (first > 0)
            posts, pres = (to_first, to_hidden, to_outputs), (pre_1, pre_2, pre_3)
        rate = MOST_RATE * torch.sigmoid(outputs[:, -1:])
        scale = rate / _length(posts, pres)
        input_trace, trace, output_trace = (
            (1 - rate).unsqueeze(2) * old + (scale * post).unsqueeze(2) * pre.unsqueeze(1)
            for old, post, pre in zip(
                (state.input_trace, state.trace, state.output_trace), posts, pres, strict=True
            )
        )
        after = InnerGradientState(hidden, trace, input_trace, output_trace)
        return outputs[:, : self.hidden_size], after


def _times(weights: Tensor, vector: Tensor) -> Tensor:
    return torch.bmm(weights, vector.unsqueeze(2)).squeeze(2)


def _length(posts: tuple[Tensor, ...], pres: tuple[Tensor, ...]) -> Tensor:
    """Return max(1, |D|) of each row, (B, 1); |post pre^T| is the product of two lengths."""
    squared = sum(
        post.square().sum(dim=1, keepdim=True) * pre.square().sum(dim=1, keepdim=True)
        for post, pre in zip(posts, pres, strict=True)
    )
    assert isinstance(squared, Tensor)
    return squared.clamp_min(1.0).sqrt()
