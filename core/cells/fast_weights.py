"""Fast weights: a recurrent net that attends to its recent past by a matrix that changes quickly.

From the input u(t) and the previous activity x(t-1), it computes the activity x(t) in S inner steps

    d        = W_in u(t) + b + W x(t-1)
    h_0      = f( LN( d ) )
    h_(s+1)  = f( LN( d + H h_s ) )          x(t) = h_S
    H       <- retention * H + rate * x(t) x(t)^T

f is ReLU, and LN is layer normalization, with one trained gain and bias for all inner steps. The
fast weights H are zero at the start of an episode. W, W_in and b are trained; retention and rate
are constants.

Source: Ba, Hinton, Mnih, Leibo & Ionescu 2016, "Using fast weights to attend to the recent past"
(arXiv 1610.06258), equations 1 and 2 and section 3.2. There, W begins as 0.05 times the identity.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.configs import FastWeightsConfig
from plasticrl.core.connection import Connection

INITIAL_WEIGHT = 0.05
"""The initial W is the identity times this number."""


class FastWeightsState(NamedTuple):
    """hidden (B, N), and the fast weights as trace (B, N, N)."""

    hidden: Tensor
    trace: Tensor


class FastWeightsConnection(Connection):
    """W, and the constant 1 as the alpha of the fast weights."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(INITIAL_WEIGHT * torch.eye(size))
        self.register_buffer("alpha", torch.ones(1, 1))

    def forward(self, pre: Tensor) -> Tensor:
        """Return W x, (B, N), without the fast weights."""
        return F.linear(pre, self.weight)


class FastWeights(Cell[FastWeightsState]):
    """The net with fast weights."""

    connection: FastWeightsConnection

    def __init__(self, input_size: int, config: FastWeightsConfig) -> None:
        super().__init__(input_size, config.hidden_size, config)
        self.retention, self.rate = config.retention, config.rate
        self.inner_steps, self.normalize_first = config.inner_steps, config.normalize_first
        self.input = nn.Linear(input_size, self.hidden_size)
        self.connection = FastWeightsConnection(self.hidden_size)
        self.norm = nn.LayerNorm(self.hidden_size)

    def initial_state(self, batch_size: int) -> FastWeightsState:
        weight = self.connection.weight
        zeros = weight.new_zeros(batch_size, self.hidden_size)
        return FastWeightsState(zeros, weight.new_zeros(batch_size, *weight.shape))

    def project(self, inputs: Tensor) -> Tensor:
        projected: Tensor = self.input(inputs)
        return projected

    def step(self, projected: Tensor, state: FastWeightsState) -> tuple[Tensor, FastWeightsState]:
        drive = projected + self.connection(state.hidden)
        fast = self.connection.alpha * state.trace
        hidden = torch.relu(self.norm(drive) if self.normalize_first else drive)
        for _ in range(self.inner_steps):
            recalled = torch.bmm(fast, hidden.unsqueeze(2)).squeeze(2)
            hidden = torch.relu(self.norm(drive + recalled))
        product = hidden.unsqueeze(2) * hidden.unsqueeze(1)
        return hidden, FastWeightsState(hidden, self.retention * state.trace + self.rate * product)
