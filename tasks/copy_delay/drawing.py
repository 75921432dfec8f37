"""A figure of some held-out episodes: the numbers, and the net's answers."""

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import nn

from plasticrl.tasks import drawing
from plasticrl.tasks.recurrent import VectorEpisodes


@torch.no_grad()
def draw(net: nn.Module, episodes: VectorEpisodes, folder: Path) -> list[Path]:
    """Save ``episode.png``, with a panel for each episode.

    Args:
        net: the trained net.
        episodes: a few held-out episodes.
        folder: where the file is saved.
    """
    inputs, targets, counts = episodes
    answers = net(inputs)
    n_rows, n_values = inputs.shape[1], int(counts.sum())
    steps = range(len(inputs))
    figure = Figure(figsize=(7.2, 1.4 * n_rows + 0.6), layout="constrained")
    axes = figure.subplots(n_rows, 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for row, axis in enumerate(axes):
        shown = inputs[:n_values, row, 0].cpu().numpy()
        axis.plot(steps[:n_values], shown, "o", color=drawing.NEUTRAL_COLOR, label="shown")
        recalled = steps[-n_values:]
        correct = targets[counts, row, 0].cpu().numpy()
        axis.plot(recalled, correct, "o", ms=9, mfc="none", color=drawing.RIGHT_COLOR, label="due")
        answered = answers[counts, row, 0].cpu().numpy()
        axis.plot(recalled, answered, ".", color=drawing.TEXT_COLOR, label="answered")
        axis.axvspan(recalled[0] - 0.5, recalled[-1] + 0.5, color=drawing.GRID_COLOR, zorder=0)
        axis.set_ylim(-1.2, 1.2)
        drawing.label_panel(axis, f"episode {row + 1}")
    drawing.legend_beside(axes[0])
    axes[-1].set_xlabel(
        "step; at the gray ones the numbers are to be repeated",
        fontsize=8,
        color=drawing.TEXT_COLOR,
    )
    return drawing.save(folder, episode=figure)
