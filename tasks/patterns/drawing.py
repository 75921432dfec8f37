"""What the plastic net does, to look at: some held-out episodes, and its two matrices."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from plasticrl.tasks import drawing
from plasticrl.tasks.patterns.task import Associator, PatternEpisodes

MOST_SHOWN = 5
"""Of an episode's patterns."""


@torch.no_grad()
def draw(net: nn.Module, episodes: PatternEpisodes, folder: Path) -> list[Path]:
    """``episode.png``, a row for each episode, and ``matrices.png``.

    Args:
        net: the plastic net.
        episodes: held-out ones, a few.
        folder: where to put the files.
    """
    assert isinstance(net, Associator)
    assert net.cell.connection is not None
    n_bits = episodes.target.shape[1]
    shown = episodes.patterns[:, :MOST_SHOWN]
    rows, errors = [], []
    for seen, given, answer, target in zip(
        shown, episodes.inputs[-1], net(episodes.inputs), episodes.target, strict=True
    ):
        probe = given[:n_bits].masked_fill(given[:n_bits] == 0, float("nan"))
        rows.append([_tile(bits) for bits in (*seen, probe, answer[:n_bits].sign(), target)])
        errors.append(f"{int((answer[:n_bits].sign() != target).sum())} bits wrong")
    titles = drawing.column_titles(shown.shape[1])
    units = "bits, the last always 1"
    return drawing.completions(net.cell.connection, titles, rows, errors, units, folder)


def _tile(bits: Tensor) -> Tensor:
    """Bits (n,) row by row in a rectangle as near a square as n allows."""
    height = next(h for h in range(math.isqrt(len(bits)), 0, -1) if len(bits) % h == 0)
    return bits.view(height, -1)
