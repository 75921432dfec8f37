"""STPN: a recurrent net of neurons with short-term plasticity.

The connections from the input and from the net itself are plastic. With z = [u(t), x(t-1)],

    G    = w + H                                       n_j = |G_j|, the length of the row j
    x_j  = tanh( (G z)_j / n_j + b_j )
    H   <- lambda * H / n + gamma * x z^T              * and / by entry; n divides rows

The short-term weights H are zero at the start of an episode. w, b, lambda and gamma are trained;
lambda and gamma have an entry for each connection, or one for all.

Source: Garcia Rodriguez, Guo & Moraitis 2022, "Short-term plasticity neurons learning to learn and
forget" (arXiv 2206.14048), section 3, with the normalization of the authors' published code.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.configs import STPNConfig
from plasticrl.core.connection import Connection


class STPNState(NamedTuple):
    """hidden (B, N), and the short-term weights as trace (B, N, I + N)."""

    hidden: Tensor
    trace: Tensor


class STPNConnection(Connection):
    """The weights, and the coefficients of the short-term weights.

    Attributes:
        retention, rate: lambda and gamma, (O, I) or (1, 1).
    """

    def __init__(self, pre_size: int, post_size: int, coefficients: str) -> None:
        super().__init__()
        shape = (post_size, pre_size) if coefficients == "connection" else (1, 1)
        limit = 1 / math.sqrt(post_size)
        self.weight = nn.Parameter(torch.empty(post_size, pre_size).uniform_(-limit, limit))
        self.retention = nn.Parameter(torch.rand(shape))
        rate_limit = 0.001 * limit
        self.rate = nn.Parameter(torch.empty(shape).uniform_(-rate_limit, rate_limit))
        self.register_buffer("alpha", torch.ones(1, 1))

    def forward(self, trace: Tensor) -> Tensor:
        """Return G = w + H, (B, O, I)."""
        return self.weight + self.alpha * trace


class STPN(Cell[STPNState]):
    """The net of neurons with short-term plasticity."""

    connection: STPNConnection

    def __init__(self, input_size: int, config: STPNConfig) -> None:
        super().__init__(input_size, config.hidden_size, config)
        self.connection = STPNConnection(
            input_size + self.hidden_size, self.hidden_size, config.coefficients
        )
        limit = 1 / math.sqrt(self.hidden_size)
        self.bias = nn.Parameter(torch.empty(self.hidden_size).uniform_(-limit, limit))

    def initial_state(self, batch_size: int) -> STPNState:
        weight = self.connection.weight
        zeros = weight.new_zeros(batch_size, self.hidden_size)
        return STPNState(zeros, weight.new_zeros(batch_size, *weight.shape))

    def step(self, projected: Tensor, state: STPNState) -> tuple[Tensor, STPNState]:
        connection = self.connection
        pre = torch.cat([projected, state.hidden], dim=1)
        effective = connection(state.trace)
        length = effective.norm(dim=2, keepdim=True)
        drive = (torch.bmm(effective, pre.unsqueeze(2)) / length).squeeze(2)
        hidden = torch.tanh(drive + self.bias)
        product = hidden.unsqueeze(2) * pre.unsqueeze(1)
        trace = connection.retention * state.trace / length + connection.rate * product
        return hidden, STPNState(hidden, trace)
