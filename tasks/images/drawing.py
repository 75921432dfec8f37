"""What the plastic net does, to look at: some held-out episodes, and its two matrices."""

from pathlib import Path

import torch
from torch import nn

from plasticrl.tasks import drawing
from plasticrl.tasks.images.nets import Completer
from plasticrl.tasks.images.task import ImageEpisodes

MOST_SHOWN = 5
"""Of an episode's pictures."""


@torch.no_grad()
def draw(net: nn.Module, episodes: ImageEpisodes, folder: Path) -> list[Path]:
    """``episode.png``, a row for each episode, and ``matrices.png``.

    Args:
        net: the plastic net.
        episodes: held-out ones, a few.
        folder: where to put the files.
    """
    assert isinstance(net, Completer)
    assert net.cell.connection is not None
    answers = net(episodes.inputs)
    shown = episodes.shown[:, :MOST_SHOWN]
    side = round(shown.shape[2] ** 0.5)
    rows, errors = [], []
    for seen, answer, target, erased in zip(
        shown, answers, episodes.target, episodes.erased, strict=True
    ):
        probe = target.masked_fill(erased, float("nan"))
        rows.append([one.view(side, side) for one in (*seen, probe, answer, target)])
        errors.append(f"error {(answer - target)[erased].square().mean().item():.3f}")
    titles = drawing.column_titles(shown.shape[1])
    units = "pixels row by row, the last always 1"
    return drawing.completions(net.cell.connection, titles, rows, errors, units, folder)
