"""The episodes of patterns, and the nets that complete them: plastic and non-plastic ones."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plasticrl.core import build_cell, sequence

INIT_STD = 0.01
"""Standard deviation of the initial weights of ``NonPlastic``, as in the plastic net."""


class PatternEpisodes(NamedTuple):
    """B episodes of T steps."""

    inputs: Tensor
    """(T, B, n_bits + 1), before the gain is applied."""
    target: Tensor
    """(B, n_bits)"""
    patterns: Tensor
    """(B, n_patterns, n_bits); the target is one of them."""


class Associator(nn.Module):
    """A plastic net with one unit per bit; the inputs are added to the drive of the units."""

    uses_control_rate = False

    def __init__(self, width: int, gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.cell = build_cell(
            "plastic_rnn",
            width,
            hidden_size=width,
            input_mode="additive",
            bound="decay",
            eta_init=0.01,
            weight_init="normal",
            alpha_init="normal",
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (T, B, width) to the units at the last step (B, width)."""
        outputs, _ = sequence(self.cell, inputs * self.gain)
        return outputs[-1]


class NonPlastic(nn.Module):
    """The same net without plasticity and with further units that receive no input.

        x(t) = tanh( gain u(t) + w x(t-1) )

    With ``uses_control_rate`` it is trained at ``control_learning_rate``, like the LSTM.
    """

    def __init__(
        self, width: int, n_units: int, gain: float, uses_control_rate: bool = False
    ) -> None:
        super().__init__()
        self.width, self.gain, self.uses_control_rate = width, gain, uses_control_rate
        self.weight = nn.Parameter(torch.empty(n_units, n_units))
        nn.init.normal_(self.weight, std=INIT_STD)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (T, B, width) to the units at the last step (B, width)."""
        n_units = len(self.weight)
        hidden = inputs.new_zeros(inputs.shape[1], n_units)
        for drive in F.pad(inputs * self.gain, (0, n_units - self.width)):
            hidden = torch.tanh(drive + F.linear(hidden, self.weight))
        return hidden[:, : self.width]


class LSTMAssociator(nn.Module):
    """An LSTM with the same inputs, whose first units are taken as the pattern's bits."""

    uses_control_rate = True

    def __init__(self, width: int, n_units: int) -> None:
        super().__init__()
        self.width = width
        self.cell = build_cell("lstm", width, hidden_size=n_units)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (T, B, width) to the units at the last step (B, width)."""
        outputs, _ = sequence(self.cell, inputs)
        return outputs[-1, :, : self.width]
