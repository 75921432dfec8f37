"""What the plastic net does, to look at: some held-out episodes, and its two matrices."""

from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from plasticrl.tasks.images.nets import Completer
from plasticrl.tasks.images.task import ImageEpisodes

MOST_SHOWN = 5
"""Of an episode's pictures."""
BRIGHTEST = 99.5
"""Percentile of a matrix's absolute values at which its colours end."""
PAPER, INK, HIDDEN = "#ffffff", "#333333", "#f2b28c"
DPI = 110


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
    files = [folder / "episode.png", folder / "matrices.png"]
    answers = net(episodes.inputs)
    _episodes(episodes, answers).savefig(files[0], dpi=DPI, facecolor=PAPER)
    weight, alpha = net.cell.connection.weight, net.cell.connection.alpha
    _matrices(weight, alpha).savefig(files[1], dpi=DPI, facecolor=PAPER)
    return files


def _episodes(episodes: ImageEpisodes, answers: Tensor) -> Figure:
    shown = episodes.shown[:, :MOST_SHOWN]
    n_rows, n_shown, n_pixels = shown.shape
    side = round(n_pixels**0.5)
    titles = [f"shown {i + 1}" for i in range(n_shown)] + ["half of one", "completed", "the whole"]
    figure = Figure(figsize=(1.15 * len(titles) + 0.2, 1.3 * n_rows + 0.3), layout="constrained")
    axes = figure.subplots(n_rows, len(titles), squeeze=False)
    for row in range(n_rows):
        target, erased = episodes.target[row], episodes.erased[row]
        probe = target.masked_fill(erased, float("nan"))
        pictures = [*shown[row], probe, answers[row], target]
        for axis, title, picture in zip(axes[row], titles, pictures, strict=True):
            _picture(axis, picture.view(side, side), title if row == 0 else "")
        error = (answers[row] - target)[erased].square().mean().item()
        axes[row, -2].set_xlabel(f"error {error:.3f}", fontsize=8, color=INK)
    return figure


def _picture(axis: Axes, picture: Tensor, title: str) -> None:
    """Grey from -1 to 1; what is not a number, and so not shown, in a colour."""
    colours = colormaps["gray"].with_extremes(bad=HIDDEN)
    axis.imshow(picture.cpu().numpy(), cmap=colours, vmin=-1, vmax=1)
    axis.set_title(title, fontsize=9, color=INK)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)


def _matrices(weight: Tensor, alpha: Tensor) -> Figure:
    figure = Figure(figsize=(9.6, 4.1), layout="constrained")
    axes = figure.subplots(1, 2)
    titles = ["fixed weights", "plasticity coefficients"]
    for axis, title, matrix in zip(axes, titles, (weight, alpha), strict=True):
        values = matrix.cpu().numpy()
        end = float(np.percentile(np.abs(values), BRIGHTEST))
        image = axis.imshow(values, cmap="RdBu_r", vmin=-end, vmax=end, interpolation="nearest")
        axis.set_title(title, fontsize=10, color=INK)
        axis.set_xlabel("from unit (pixels row by row, the last always 1)", fontsize=8, color=INK)
        axis.set_ylabel("to unit", fontsize=8, color=INK)
        axis.tick_params(labelsize=7, colors=INK)
        axis.spines[:].set_visible(False)
        figure.colorbar(image, ax=axis, shrink=0.8, extend="both").ax.tick_params(labelsize=7)
    return figure
