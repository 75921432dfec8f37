"""Figures of the plastic net: some held-out episodes, and its weights and coefficients."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from plasticrl.core import PlasticConnection
from plasticrl.tasks import drawing
from plasticrl.tasks.patterns.nets import Associator, PatternEpisodes

MAX_SHOWN = 5
"""Largest number of an episode's patterns that are drawn."""


@torch.no_grad()
def draw(net: nn.Module, episodes: PatternEpisodes, folder: Path) -> list[Path]:
    """Save ``episode.png``, with a row for each episode, and ``matrices.png``.

    Args:
        net: the plastic net.
        episodes: a few held-out episodes.
        folder: where the files are saved.
    """
    assert isinstance(net, Associator)
    assert isinstance(net.cell.connection, PlasticConnection)
    n_bits = episodes.target.shape[1]
    shown = episodes.patterns[:, :MAX_SHOWN]
    rows, errors = [], []
    for patterns, last_input, units, target in zip(
        shown, episodes.inputs[-1], net(episodes.inputs), episodes.target, strict=True
    ):
        probe = last_input[:n_bits].masked_fill(last_input[:n_bits] == 0, float("nan"))
        answer = units[:n_bits].sign()
        rows.append([_as_rectangle(bits) for bits in (*patterns, probe, answer, target)])
        errors.append(f"{int((answer != target).sum())} bits wrong")
    grid = drawing.episode_grid(drawing.column_titles(shown.shape[1]), rows, errors)
    units_label = "bits, the last always 1"
    return drawing.save_with_matrices(folder, grid, net.cell.connection, units_label)


def _as_rectangle(bits: Tensor) -> Tensor:
    """Arrange bits (n,) row by row in the rectangle that is nearest to a square."""
    height = next(h for h in range(math.isqrt(len(bits)), 0, -1) if len(bits) % h == 0)
    return bits.view(height, -1)
