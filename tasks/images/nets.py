"""The episodes of pictures, and nets that complete them: plastic, non-plastic, and baselines.

The inputs of an episode are (T, B, 2 N): N values, then N masks that are 1 where a value is shown.
Of the N units, N - 1 are pixels and the last is always 1. A net returns the pixels at the last
step, (B, N - 1).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plasticrl.core import build_cell, sequence

ETA, INIT_STD = 0.01, 0.01
"""Plasticity rate, and standard deviation of the initial weights and alphas; DP 2018."""


class ImageEpisodes(NamedTuple):
    """B episodes of T steps, with P pictures of S pixels."""

    inputs: Tensor
    """(T, B, 2 (S + 1)): values, then masks."""
    target: Tensor
    """(B, S)"""
    erased: Tensor
    """(B, S), true at the pixels of the target that the last steps do not show."""
    shown: Tensor
    """All pictures of the episodes, (B, P, S)."""


class Completer(nn.Module):
    """A plastic net whose units are clamped to the pixels that are shown.

    Args:
        width: N, the number of units.
        alpha: "connection" for one plasticity coefficient per connection, "scalar" for one in all.
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
    """The same net without plasticity and with further units that are never clamped.

        x(t) = u(t) where the mask is set, else tanh( w x(t-1) )

    Args:
        width: N, the number of units that can be clamped.
        n_units: the number of all units, at least N.
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
    """Answers 0, the mean of a picture, where nothing is shown."""

    def forward(self, inputs: Tensor) -> Tensor:
        pixels, _ = _probe(inputs)
        return pixels


class MeanOfTheRest(nn.Module):
    """Answers the mean of the erased pixels, which follows from the picture's mean of 0."""

    def forward(self, inputs: Tensor) -> Tensor:
        pixels, shown = _probe(inputs)
        rest = -pixels.sum(dim=1, keepdim=True) / (1 - shown).sum(dim=1, keepdim=True)
        return pixels + (1 - shown) * rest


class Mirror(nn.Module):
    """Answers the mirror image of the half that is shown."""

    def forward(self, inputs: Tensor) -> Tensor:
        pixels, _ = _probe(inputs)
        side = round(pixels.shape[1] ** 0.5)
        return pixels + pixels.view(-1, side, side).flip(1).flatten(1)


def _probe(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels of the last step, 0 where erased, and their masks, each (B, N - 1)."""
    values, masks = inputs[-1].chunk(2, dim=1)
    return values[:, :-1], masks[:, :-1]
