"""What the plastic net does, to look at: an episode step by step, and its two matrices."""

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from plasticrl.tasks import drawing
from plasticrl.tasks.bohp.task import (
    N_BITS,
    BohpEpisodes,
    Classifier,
    plastic_connection,
)

RIGHT, ANSWERED = "#999999", "#b2182b"


@torch.no_grad()
def draw(net: nn.Module, episodes: BohpEpisodes, folder: Path) -> list[Path]:
    """``episode.png`` and ``matrices.png``.

    Args:
        net: the plastic net.
        episodes: held-out ones, a few; of a classifier the first alone is drawn.
        folder: where to put the files.
    """
    connection = plastic_connection(net)
    if isinstance(net, Classifier):
        episode, units = _steps(net, episodes), "0 to 7 the pattern, 8 and 9 its label"
    else:
        episode, units = _completions(net, episodes), "bits"
    files = [folder / "episode.png", folder / "matrices.png"]
    episode.savefig(files[0], dpi=drawing.DPI)
    matrices = drawing.matrices(connection.weight, connection.alpha, units)
    matrices.savefig(files[1], dpi=drawing.DPI)
    return files


def _completions(net: nn.Module, episodes: BohpEpisodes) -> Figure:
    rows, errors = [], []
    answers = net(episodes.inputs)[-1]
    for seen, given, answer in zip(*episodes.inputs, answers, strict=True):
        probe = given.masked_fill(given == 0, float("nan"))
        rows.append([bits.unsqueeze(0) for bits in (seen, probe, answer, seen)])
        errors.append(f"error {(answer - seen).square().sum().item():.2g}")
    return drawing.episodes(rows, ["shown", "one bit of it", "completed", "the whole"], errors)


def _steps(net: Classifier, episodes: BohpEpisodes) -> Figure:
    """Over the steps: the inputs, the plastic units, and which label is right and answered."""
    inputs = episodes.inputs[:, :1]
    units, answers = net.layer(inputs)[:, 0], net(inputs)[:, 0].softmax(dim=1)[:, 1]
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    heights = [N_BITS, inputs.shape[2] - N_BITS, max(2, units.shape[1]), 6]
    axes = figure.subplots(4, 1, sharex=True, height_ratios=heights)
    shown = [inputs[:, 0, :N_BITS], inputs[:, 0, N_BITS:], units]
    for axis, values, name in zip(
        axes, shown, ("pattern", "label", "plastic\nunits"), strict=False
    ):
        axis.imshow(values.T.cpu().numpy(), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        axis.set_yticks([])
        _style(axis, name)
    last = axes[-1]
    last.plot(
        episodes.target[:, 0].cpu().numpy(), "s", ms=7, mfc="none", color=RIGHT, label="right"
    )
    last.plot(answers.cpu().numpy(), ".-", lw=0.8, color=ANSWERED, label="answered")
    for step in _labelled(episodes.counts):
        last.axvspan(step - 0.5, step + 0.5, color="#eeeeee", zorder=0)
    last.set_xticks(range(0, len(inputs), 2))
    last.set_ylim(-0.15, 1.15)
    last.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    _style(last, "probability\nof label 2")
    last.set_xlabel("step; grey: the label is shown", fontsize=8, color=drawing.INK)
    return figure


def _labelled(counts: Tensor) -> list[int]:
    """Steps whose answer does not count, because they show it."""
    return [step for step, counted in enumerate(counts.tolist()) if not counted]


def _style(axis: Axes, name: str) -> None:
    axis.set_ylabel(name, fontsize=8, color=drawing.INK, rotation=0, ha="right", va="center")
    axis.tick_params(labelsize=7, colors=drawing.INK)
    axis.spines[:].set_visible(False)
