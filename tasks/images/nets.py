"""What completes a picture: plastic and non-plastic nets, and what needs no learning.

Each is given an episode's inputs (T, B, 2 N), N values and the N masks that say which of them are
shown, and returns its answer at the last step (B, N - 1): N - 1 pixels, and one unit always at 1.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from plasticrl.core import build_cell, sequence


class Completer(nn.Module):
    """A recurrent net whose first units are the pixels: those that are shown ARE what is shown.

    Args:
        width: N.
        n_units: at least N; the rest are never shown anything.
        alpha: "connection", or "scalar" for one shared plasticity coefficient; None: not plastic.
    """

    def __init__(self, width: int, n_units: int, alpha: str | None) -> None:
        super().__init__()
        self.width, self.n_hidden = width, n_units - width
        self.cell = build_cell(
            "plastic_rnn",
            2 * n_units,
            hidden_size=n_units,
            input_mode="clamped",
            bound="decay",
            alpha=alpha or "connection",
            eta_init=0.01,
            weight_init="normal",
            alpha_init="normal",
        )
        if alpha is None:
            connection = self.cell.connection
            assert connection is not None
            for parameter in (connection.alpha, connection.eta):
                assert parameter is not None
                nn.init.zeros_(parameter.requires_grad_(False))

    def forward(self, inputs: Tensor) -> Tensor:
        values_and_masks = inputs.unflatten(2, (2, self.width))
        padded = F.pad(values_and_masks, (0, self.n_hidden)).flatten(2)
        outputs, _ = sequence(self.cell, padded)
        return outputs[-1, :, : self.width - 1]


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
