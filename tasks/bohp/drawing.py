"""What the plastic net does, to look at: an episode step by step, and its two matrices."""

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from plasticrl.core import PlasticConnection
from plasticrl.tasks import drawing
from plasticrl.tasks.bohp.task import (
    N_BITS,
    BohpEpisodes,
    Classifier,
    plastic_connection,
)


@torch.no_grad()
def draw(net: nn.Module, episodes: BohpEpisodes, folder: Path) -> list[Path]:
    """``episode.png`` and ``matrices.png``.

    Args:
        net: the plastic net.
        episodes: held-out ones, a few; of a classifier the first alone is drawn.
        folder: where to put the files.
    """
    connection = plastic_connection(net)
    if not isinstance(net, Classifier):
        return _completions(net, connection, episodes, folder)
    units = "0 to 7 the pattern, 8 and 9 its label"
    matrices = drawing.matrices(connection.weight, connection.alpha, units)
    return drawing.save(folder, episode=_steps(net, episodes), matrices=matrices)


def _completions(
    net: nn.Module, connection: PlasticConnection, episodes: BohpEpisodes, folder: Path
) -> list[Path]:
    rows, errors = [], []
    answers = net(episodes.inputs)[-1]
    for seen, given, answer in zip(*episodes.inputs, answers, strict=True):
        probe = given.masked_fill(given == 0, float("nan"))
        rows.append([bits.unsqueeze(0) for bits in (seen, probe, answer, seen)])
        errors.append(f"error {(answer - seen).square().sum().item():.2g}")
    titles = ["shown", "one bit of it", "completed", "the whole"]
    return drawing.completions(connection, titles, rows, errors, "bits", folder)


def _steps(net: Classifier, episodes: BohpEpisodes) -> Figure:
    """Over the steps: the inputs, the plastic units, and which label is right and answered."""
    inputs = episodes.inputs[:, :1]
    units, answers = net.layer(inputs)[:, 0], net(inputs)[:, 0].softmax(dim=1)[:, 1]
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    heights = [N_BITS, inputs.shape[2] - N_BITS, max(2, units.shape[1]), 6]
    axes = figure.subplots(4, 1, sharex=True, height_ratios=heights)
    shown = [inputs[:, 0, :N_BITS], inputs[:, 0, N_BITS:], units]
    for axis, values, name in zip(
        axes, shown, ("pattern", "label 1\nlabel 2", "plastic\nunits"), strict=False
    ):
        axis.imshow(values.T.cpu().numpy(), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        axis.set_yticks([])
        drawing.label_panel(axis, name)
    _answers(axes[-1], episodes.target[:, 0], answers, episodes.counts)
    axes[-1].set_xticks(range(0, len(inputs), 2))
    axes[-1].set_xlabel(
        "step; blue -1, white 0, red 1; in grey the label is shown, and no answer counts",
        fontsize=8,
        color=drawing.INK,
    )
    return figure


def _answers(axis: Axes, labels: Tensor, answers: Tensor, counts: Tensor) -> None:
    """The right labels (T,) and the answers (T,) at the steps that count."""
    right, answered = (
        values.float().masked_fill(~counts, float("nan")).cpu().numpy()
        for values in (labels, answers)
    )
    axis.plot(right, "s", ms=7, mfc="none", color=drawing.RIGHT, label="right")
    axis.plot(answered, ".-", lw=0.8, color=drawing.INK, label="answered")
    for step in (~counts).nonzero().flatten().tolist():
        axis.axvspan(step - 0.5, step + 0.5, color="#eeeeee", zorder=0)
    axis.set_ylim(-0.15, 1.15)
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    drawing.label_panel(axis, "probability\nof label 2")
