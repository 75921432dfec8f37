"""The plastic LSTM: its recurrent connections to the cell input (the candidate) are plastic.

From the input u(t) and the state h(t-1), c(t-1), it computes the gates i, f, o, the candidate g and
the new state. W, V, W_g and all b are trained; ``connection`` defines w, alpha and H:

    i, f, o = sigmoid( W u(t) + b + V h(t-1) + b_h )
    g       = tanh( W_g u(t) + b_g + (w + alpha * H(t)) h(t-1) )       pre = h(t-1), post = g
    c(t)    = f c(t-1) + i g
    h(t)    = o tanh( c(t) )

The neuromodulator reads h(t), as in the authors' published code, or optionally c(t). The order of
the gates in weight matrices is i, f, g, o as in ``torch.nn.LSTMCell``, but g has one bias instead
of two.
Source: BP 2019 (arXiv 2002.10585) section 4.3.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.configs import PlasticLSTMConfig
from plasticrl.core.connection import PlasticConnection


class PlasticLSTMState(NamedTuple):
    """hidden, cell (B, N), trace (B, N, N); eligibility (B, N, N) with retroactive modulation."""

    hidden: Tensor
    cell: Tensor
    trace: Tensor
    eligibility: Tensor | None = None


class PlasticLSTM(Cell[PlasticLSTMState]):
    """The plastic LSTM.

    Attributes:
        input: the linear layer W, W_g (4N, I).
        gates: the linear layer V (3N, N).
    """

    connection: PlasticConnection

    def __init__(self, input_size: int, config: PlasticLSTMConfig) -> None:
        super().__init__(input_size, config.hidden_size, config)
        self.modulator_input = config.modulator_input
        self.input = nn.Linear(input_size, 4 * self.hidden_size)
        self.gates = nn.Linear(self.hidden_size, 3 * self.hidden_size)
        self.connection = PlasticConnection(self.hidden_size, self.hidden_size, config)
        limit = 1 / math.sqrt(self.hidden_size)
        for parameter in self.input.parameters():  # the initialization of torch.nn.LSTMCell
            nn.init.uniform_(parameter, -limit, limit)

    def initial_state(self, batch_size: int) -> PlasticLSTMState:
        zeros = self.gates.weight.new_zeros(batch_size, self.hidden_size)
        traces = self.connection.initial_traces(batch_size)
        return PlasticLSTMState(zeros, torch.zeros_like(zeros), *traces)

    def project(self, inputs: Tensor) -> Tensor:
        projected: Tensor = self.input(inputs)
        return projected

    def step(self, projected: Tensor, state: PlasticLSTMState) -> tuple[Tensor, PlasticLSTMState]:
        plastic = self.connection(state.hidden, state.trace)
        candidate, hidden, cell = self.gate(projected, state, plastic)
        traces = self.connection.update(
            state.trace,
            state.eligibility,
            pre=state.hidden,
            post=candidate,
            activity=cell if self.modulator_input == "cell" else hidden,
        )
        return hidden, PlasticLSTMState(hidden, cell, *traces)

    def gate(
        self, projected: Tensor, state: PlasticLSTMState, plastic: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return g, h(t) and c(t), each (B, N).

        Args:
            projected: the projected input (B, 4N).
            state: the state before the step.
            plastic: (w + alpha * H(t)) h(t-1), (B, N).
        """
        input_i, input_f, input_g, input_o = projected.chunk(4, dim=1)
        from_i, from_f, from_o = self.gates(state.hidden).chunk(3, dim=1)
        candidate = torch.tanh(input_g + plastic)
        kept = torch.sigmoid(input_f + from_f) * state.cell
        cell = kept + torch.sigmoid(input_i + from_i) * candidate
        return candidate, torch.sigmoid(input_o + from_o) * torch.tanh(cell), cell

    def modulating_activity(self, state: PlasticLSTMState) -> Tensor | None:
        if self.connection.modulator is None:
            return None
        return state.cell if self.modulator_input == "cell" else state.hidden
