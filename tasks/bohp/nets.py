"""The episodes of the 2016 paper's problems, and the nets that solve them.

    y = tanh( (w + alpha * H) u ),    H <- g H + (1 - g) y u^T

Source: BOHP 2016 (arXiv 1609.02228).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from plasticrl.core import Plasticity
from plasticrl.core.connection import PlasticConnection

N_BITS, N_LABELS = 8, 2
INIT_STD = 0.1
"""Standard deviation of the initial weights and alphas."""


class BohpEpisodes(NamedTuple):
    """B episodes of T steps."""

    inputs: Tensor
    """Patterns, and labels where they are shown, (T, B, I)."""
    target: Tensor
    """The pattern (B, 8) with completion, else the labels (T, B)."""
    counts: Tensor
    """True at the steps whose answer counts, (T,)."""


class PlasticLayer(nn.Module):
    """Tanh units with plastic weights and a decaying trace; maps u (T, B, I) to y (T, B, O)."""

    def __init__(self, n_inputs: int, n_units: int, retention: float) -> None:
        super().__init__()
        options = Plasticity(
            bound="decay", eta_init=1 - retention, alpha_init="normal", alpha_scale=INIT_STD
        )
        self.connection = PlasticConnection(n_inputs, n_units, options)
        nn.init.normal_(self.connection.weight, std=INIT_STD)
        assert self.connection.eta is not None
        self.connection.eta.requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        trace, eligibility = self.connection.initial_traces(inputs.shape[1])
        outputs = []
        for pre in inputs:
            post = torch.tanh(self.connection(pre, trace))
            trace, eligibility = self.connection.update(trace, eligibility, pre, post, post)
            outputs.append(post)
        return torch.stack(outputs)


class Classifier(nn.Module):
    """A plastic layer followed by a non-plastic linear layer that gives logits (T, B, 2)."""

    def __init__(self, n_hidden: int, retention: float) -> None:
        super().__init__()
        self.layer = PlasticLayer(N_BITS + N_LABELS, n_hidden, retention)
        self.readout = nn.Linear(n_hidden, N_LABELS, bias=False)
        nn.init.normal_(self.readout.weight, std=INIT_STD)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.layer(inputs))
        return logits


class NonPlastic(nn.Module):
    """A recurrent net whose only memory is the activity of its units; answers are (T, B, O).

    h(t) = tanh( w u(t) + r h(t-1) ),    answer v h(t)

    This is torch's RNN because, like the plastic nets, it must have no biases; the core's ``rnn``
    always has one.
    """

    def __init__(self, n_inputs: int, n_units: int, n_outputs: int) -> None:
        super().__init__()
        self.recurrent = nn.RNN(n_inputs, n_units, bias=False)
        self.readout = nn.Linear(n_units, n_outputs, bias=False)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=INIT_STD)

    def forward(self, inputs: Tensor) -> Tensor:
        answers: Tensor = self.readout(self.recurrent(inputs)[0])
        return answers


def plastic_connection(net: nn.Module) -> PlasticConnection:
    """The plastic connection of the plastic net of any of the three problems."""
    layer = net.layer if isinstance(net, Classifier) else net
    assert isinstance(layer, PlasticLayer)
    return layer.connection
