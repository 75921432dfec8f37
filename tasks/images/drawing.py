"""Figures of the plastic net: some held-out episodes, and its weights and coefficients."""

from pathlib import Path

import torch
from torch import nn

from plasticrl.core import PlasticConnection
from plasticrl.tasks import drawing
from plasticrl.tasks.images.nets import Completer, ImageEpisodes

MAX_SHOWN = 5
"""Largest number of an episode's pictures that are drawn."""


@torch.no_grad()
def draw(net: nn.Module, episodes: ImageEpisodes, folder: Path) -> list[Path]:
    """Save ``episode.png``, with a row for each episode, and ``matrices.png``.

    Args:
        net: the plastic net.
        episodes: a few held-out episodes.
        folder: where the files are saved.
    """
    assert isinstance(net, Completer)
    assert isinstance(net.cell.connection, PlasticConnection)
    answers = net(episodes.inputs)
    shown = episodes.shown[:, :MAX_SHOWN]
    side = round(shown.shape[2] ** 0.5)
    rows, errors = [], []
    for pictures, answer, target, erased in zip(
        shown, answers, episodes.target, episodes.erased, strict=True
    ):
        probe = target.masked_fill(erased, float("nan"))
        rows.append([pixels.view(side, side) for pixels in (*pictures, probe, answer, target)])
        errors.append(f"error {(answer - target)[erased].square().mean().item():.3f}")
    grid = drawing.episode_grid(drawing.column_titles(shown.shape[1]), rows, errors)
    units = "pixels row by row, the last always 1"
    return drawing.save_with_matrices(folder, grid, net.cell.connection, units)
