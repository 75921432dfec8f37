"""A figure of some held-out episodes: predicted against actual values of the queries."""

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import nn

from plasticrl.tasks import drawing
from plasticrl.tasks.recurrent import VectorEpisodes


@torch.no_grad()
def draw(net: nn.Module, baseline: nn.Module, episodes: VectorEpisodes, folder: Path) -> list[Path]:
    """Save ``episode.png``, with a panel for each episode.

    Args:
        net: the trained net.
        baseline: the ridge regression.
        episodes: a few held-out episodes.
        folder: where the file is saved.
    """
    inputs, targets, counts = episodes
    net_answers, ridge_answers = (
        one(inputs)[counts, :, 0].cpu().numpy() for one in (net, baseline)
    )
    actual = targets[counts, :, 0].cpu().numpy()
    n_panels, limit = inputs.shape[1], 1.1 * max(abs(actual).max(), 1.0)
    figure = Figure(figsize=(2.5 * n_panels + 1.2, 2.9), layout="constrained")
    axes = figure.subplots(1, n_panels, sharex=True, sharey=True, squeeze=False)[0]
    for i, axis in enumerate(axes):
        axis.plot([-limit, limit], [-limit, limit], color=drawing.NEUTRAL_COLOR, lw=1)
        points = {"ridge regression": (ridge_answers, "o"), "net": (net_answers, ".")}
        colors = (drawing.RIGHT_COLOR, drawing.TEXT_COLOR)
        for (name, (answers, marker)), color in zip(points.items(), colors, strict=True):
            axis.plot(actual[:, i], answers[:, i], marker, mfc="none", color=color, label=name)
        axis.set_aspect("equal")
        axis.set_xlim(-limit, limit)
        axis.set_ylim(-limit, limit)
        axis.set_title(f"episode {i + 1}", fontsize=9, color=drawing.TEXT_COLOR)
        axis.set_xlabel("value of a query", fontsize=8, color=drawing.TEXT_COLOR)
        drawing.label_panel(axis, "")
    axes[0].set_ylabel("predicted", fontsize=8, color=drawing.TEXT_COLOR, rotation=90, ha="center")
    drawing.legend_beside(axes[-1])
    return drawing.save(folder, episode=figure)
