"""Figures of the plastic net: an episode step by step, and its weights and coefficients."""

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from plasticrl.tasks import drawing
from plasticrl.tasks.bohp.nets import N_BITS, BohpEpisodes, Classifier, plastic_connection


@torch.no_grad()
def draw(net: nn.Module, episodes: BohpEpisodes, folder: Path) -> list[Path]:
    """Save ``episode.png`` and ``matrices.png``.

    Args:
        net: the plastic net.
        episodes: a few held-out episodes; for a classifier, only the first is drawn.
        folder: where the files are saved.
    """
    if isinstance(net, Classifier):
        episode, units = _steps(net, episodes), "0 to 7 the pattern, 8 and 9 its label"
    else:
        episode, units = _completions(net, episodes), "bits"
    return drawing.save_with_matrices(folder, episode, plastic_connection(net), units)


def _completions(net: nn.Module, episodes: BohpEpisodes) -> Figure:
    rows, errors = [], []
    answers = net(episodes.inputs)[-1]
    for pattern, input_bits, answer in zip(*episodes.inputs, answers, strict=True):
        probe = input_bits.masked_fill(input_bits == 0, float("nan"))
        rows.append([bits.unsqueeze(0) for bits in (pattern, probe, answer, pattern)])
        errors.append(f"error {(answer - pattern).square().sum().item():.2g}")
    titles = ["shown", "one bit of it", "completed", "the whole"]
    return drawing.episode_grid(titles, rows, errors)


def _steps(net: Classifier, episodes: BohpEpisodes) -> Figure:
    """The inputs, the plastic units, and the correct and predicted labels over the steps."""
    inputs = episodes.inputs[:, :1]
    units, answers = net.layer(inputs)[:, 0], net(inputs)[:, 0].softmax(dim=1)[:, 1]
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    heights = [N_BITS, inputs.shape[2] - N_BITS, max(2, units.shape[1]), 6]
    axes = figure.subplots(4, 1, sharex=True, height_ratios=heights)
    panels = {
        "pattern": inputs[:, 0, :N_BITS],
        "label 1\nlabel 2": inputs[:, 0, N_BITS:],
        "plastic\nunits": units,
    }
    for axis, (name, values) in zip(axes[:3], panels.items(), strict=True):
        axis.imshow(values.T.cpu().numpy(), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        axis.set_yticks([])
        drawing.label_panel(axis, name)
    _plot_answers(axes[-1], episodes.target[:, 0], answers, episodes.counts)
    axes[-1].set_xticks(range(0, len(inputs), 2))
    axes[-1].set_xlabel(
        "step; blue -1, white 0, red 1; at the gray steps the label is shown and no answer counts",
        fontsize=8,
        color=drawing.TEXT_COLOR,
    )
    return figure


def _plot_answers(axis: Axes, labels: Tensor, answers: Tensor, counts: Tensor) -> None:
    """Plot the correct labels (T,) and the answers (T,) at the steps that count (T,)."""
    correct, answered = (
        values.float().masked_fill(~counts, float("nan")).cpu().numpy()
        for values in (labels, answers)
    )
    axis.plot(correct, "s", ms=7, mfc="none", color=drawing.RIGHT_COLOR, label="correct")
    axis.plot(answered, ".-", lw=0.8, color=drawing.TEXT_COLOR, label="answered")
    for step in (~counts).nonzero().flatten().tolist():
        axis.axvspan(step - 0.5, step + 0.5, color=drawing.GRID_COLOR, zorder=0)
    axis.set_ylim(-0.15, 1.15)
    drawing.legend_beside(axis)
    drawing.label_panel(axis, "probability\nof label 2")
