"""The plastic RNN: a recurrent net of tanh units whose recurrent connections are plastic.

From the input u(t) and the previous activity x(t-1), it computes the activity

    x(t) = tanh( I(t) + (w + alpha * H(t)) x(t-1) )        pre = x(t-1), post = x(t)

``connection`` defines w, alpha and H. The projected input I(t) depends on the input mode:

    weights     I(t) = W_in u(t) + b, with trained W_in and b
    additive    I(t) = u(t), which has one number for each unit
    clamped     I(t) = 0; u(t) = (value, mask), and x(t)[j] = value[j] where mask[j] is not 0

With ``trial_input``, x(t-1) and the eligibility trace are zero at the first step of each trial.

Sources: DP 2018 (arXiv 1804.02464) equations 1-3 and sections 4.1, 4.2 (additive, clamped);
BP 2019 (arXiv 2002.10585) section 3; Miconi & Kay 2025 (Nature Neuroscience) for the trials.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.configs import PlasticRNNConfig
from plasticrl.core.connection import PlasticConnection, fill_randomly
from plasticrl.core.plasticity import OptionError


class PlasticRNNState(NamedTuple):
    """hidden (B, N), trace (B, N, N); eligibility (B, N, N) with retroactive modulation."""

    hidden: Tensor
    trace: Tensor
    eligibility: Tensor | None = None


class PlasticRNN(Cell[PlasticRNNState]):
    """The plastic RNN. Its neuromodulator reads the new activity x(t).

    Raises:
        OptionError: if ``input_size`` does not fit the input mode.
    """

    connection: PlasticConnection

    def __init__(self, input_size: int, config: PlasticRNNConfig) -> None:
        super().__init__(input_size, config.hidden_size, config)
        self.input_mode = config.input_mode
        widths = {"additive": config.hidden_size, "clamped": 2 * config.hidden_size}
        if input_size != widths.get(config.input_mode, input_size):
            raise OptionError(
                f"input_mode={config.input_mode!r} with hidden_size={config.hidden_size} needs "
                f"input_size={widths[config.input_mode]}, not {input_size}"
            )
        self.trial_input = config.trial_input
        if self.trial_input is not None and self.trial_input >= input_size:
            raise OptionError(
                f"trial_input must be below input_size={input_size}, not {self.trial_input}"
            )
        self.input = (
            nn.Linear(input_size, self.hidden_size) if config.input_mode == "weights" else None
        )
        self.connection = PlasticConnection(self.hidden_size, self.hidden_size, config)
        fill_randomly(self.connection.weight, config.weight_init, config.weight_scale)

    def initial_state(self, batch_size: int) -> PlasticRNNState:
        hidden = self.connection.weight.new_zeros(batch_size, self.hidden_size)
        return PlasticRNNState(hidden, *self.connection.initial_traces(batch_size))

    def project(self, inputs: Tensor) -> Tensor:
        projected = inputs if self.input is None else self.input(inputs)
        return self.with_trial_starts(projected, inputs)

    def with_trial_starts(self, projected: Tensor, inputs: Tensor) -> Tensor:
        """Add a last column that is not zero where a trial starts, with a ``trial_input``."""
        if self.trial_input is None:
            return projected
        starts = inputs[..., self.trial_input : self.trial_input + 1]
        return torch.cat([projected, starts], dim=-1)

    def step(self, projected: Tensor, state: PlasticRNNState) -> tuple[Tensor, PlasticRNNState]:
        if self.trial_input is not None:
            starts, projected = projected[:, -1:] != 0, projected[:, :-1]
            state = _at_trial_starts(state, starts)
        recurrent = self.connection(state.hidden, state.trace)
        if self.input_mode == "clamped":
            value, mask = projected.chunk(2, dim=1)
            hidden = torch.where(mask != 0, value, torch.tanh(recurrent))
        else:
            hidden = torch.tanh(projected + recurrent)
        traces = self.connection.update(
            state.trace, state.eligibility, pre=state.hidden, post=hidden, activity=hidden
        )
        return hidden, PlasticRNNState(hidden, *traces)

    def modulating_activity(self, state: PlasticRNNState) -> Tensor | None:
        return None if self.connection.modulator is None else state.hidden


def _at_trial_starts(state: PlasticRNNState, starts: Tensor) -> PlasticRNNState:
    """Reset the activity and the eligibility of the rows that start a trial, ``starts`` (B, 1)."""
    hidden = torch.where(starts, 0.0, state.hidden)
    eligibility = state.eligibility
    if eligibility is not None:
        eligibility = torch.where(starts.unsqueeze(2), 0.0, eligibility)
    return PlasticRNNState(hidden, state.trace, eligibility)
