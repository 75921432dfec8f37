"""What completes a picture: plastic and non-plastic nets, and what needs no learning.

Each is given an episode's inputs (T, B, 2 N), N values and the N masks that say which of them are
shown, and returns its answer at the last step (B, N - 1): N - 1 pixels, and one unit always at 1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plasticrl.core import build_cell, sequence

ETA, INIT_STD = 0.01, 0.01
"""Of the trace and of weights and alpha: DP 2018's."""


class Completer(nn.Module):
    """A plastic net whose first units are the pixels: those that are shown ARE what is shown.

    Args:
        width: N, units.
        alpha: "connection", a plasticity coefficient for each; or "scalar", one shared.
    """

    def __init__(self, width: int, alpha: str) -> None:
        super().__init__()
        self.cell = build_cell(
            "plastic_rnn",
            2 * width,
            hidden_size=width,
            input_mode="clamped",
            bound="decay",
            alpha=alpha,
            eta_init=ETA,
            weight_init="normal",
            weight_scale=INIT_STD,
            alpha_init="normal",
            alpha_scale=INIT_STD,
        )

    def forward(self, inputs: Tensor) -> Tensor:
        outputs, _ = sequence(self.cell, inputs)
        return outputs[-1, :, :-1]


class NonPlastic(nn.Module):
    """The same without plasticity and with more units, which are never shown anything.

        x(t) = tanh( w x(t-1) ), where the mask is set u(t)

    Args:
        width: N.
        n_units: at least N.
    """

    def __init__(self, width: int, n_units: int) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(n_units, n_units))
        nn.init.normal_(self.weight, std=INIT_STD)

    def forward(self, inputs: Tensor) -> Tensor:
        n_units = len(self.weight)
        values, masks = (F.pad(half, (0, n_units - self.width)) for half in inputs.chunk(2, dim=2))
        hidden = inputs.new_zeros(inputs.shape[1], n_units)
        for value, mask in zip(values, masks, strict=True):
            hidden = torch.where(mask != 0, value, torch.tanh(F.linear(hidden, self.weight)))
        return hidden[:, : self.width - 1]


class Mean(nn.Module):
    """The picture's mean, 0, where nothing is shown."""

    def forward(self, inputs: Tensor) -> Tensor:
        pixels, _ = _probe(inputs)
        return pixels


class MeanOfTheRest(nn.Module):
    """What is left for the erased pixels, where all of them have the mean 0."""

    def forward(self, inputs: Tensor) -> Tensor:
        pixels, shown = _probe(inputs)
        rest = -pixels.sum(dim=1, keepdim=True) / (1 - shown).sum(dim=1, keepdim=True)
        return pixels + (1 - shown) * rest


class Mirror(nn.Module):
    """The half that is shown, upside down, in the place of the other."""

    def forward(self, inputs: Tensor) -> Tensor:
        pixels, _ = _probe(inputs)
        side = round(pixels.shape[1] ** 0.5)
        return pixels + pixels.view(-1, side, side).flip(1).flatten(1)


def _probe(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels (B, N - 1) of the last step, 0 where erased, and which are shown, as 0 and 1."""
    values, masks = inputs[-1].chunk(2, dim=1)
    return values[:, :-1], masks[:, :-1]
