"""A figure of some held-out episodes, with the probability that the net gives to each digit."""

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from plasticrl.tasks import drawing
from plasticrl.tasks.associative_retrieval.config import N_DIGITS, N_LETTERS
from plasticrl.tasks.recurrent import VectorEpisodes

SYMBOLS = "abcdefghijklmnopqrstuvwxyz0123456789?"


@torch.no_grad()
def draw(net: nn.Module, episodes: VectorEpisodes, folder: Path) -> list[Path]:
    """Save ``episode.png``, with a row for each episode.

    Args:
        net: the trained net.
        episodes: a few held-out episodes.
        folder: where the file is saved.
    """
    inputs, targets, _ = episodes
    n_steps, n_rows, _ = inputs.shape
    probabilities = net(inputs)[-1].softmax(dim=1)
    figure = Figure(figsize=(0.32 * n_steps + 4.4, 0.42 * n_rows + 1.1), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[n_steps, N_DIGITS])
    for row in range(n_rows):
        _write_symbols(left, inputs[:, row], row)
    left.set_title("shown, step by step", fontsize=9, color=drawing.TEXT_COLOR)
    right.imshow(probabilities.cpu().numpy(), cmap="Greys", vmin=0, vmax=1, aspect="auto")
    _mark(right, targets[-1].argmax(dim=1), probabilities.argmax(dim=1))
    right.set_title("probability of each digit", fontsize=9, color=drawing.TEXT_COLOR)
    right.set_xticks(range(N_DIGITS))
    figure.supxlabel(
        "probabilities: white 0, black 1; the correct digit has a box, which is orange if another "
        "digit is likelier",
        fontsize=8,
        color=drawing.TEXT_COLOR,
    )
    left.set_xlim(-0.5, n_steps - 0.5)
    left.set_ylim(n_rows - 0.5, -0.5)
    left.set_xticks([])
    for axis in (left, right):
        axis.set_yticks([])
        drawing.label_panel(axis, "")
    return drawing.save(folder, episode=figure)


def _write_symbols(axis: Axes, inputs: Tensor, row: int) -> None:
    """Write the symbols of an episode (T, 37) in a row; steps without input have a dot."""
    for step, one_hot in enumerate(inputs):
        index = int(one_hot.argmax())
        is_digit = N_LETTERS <= index < N_LETTERS + N_DIGITS
        axis.text(
            step,
            row,
            SYMBOLS[index] if one_hot.any() else "·",
            ha="center",
            va="center",
            fontsize=12,
            color=drawing.RIGHT_COLOR if is_digit else drawing.TEXT_COLOR,
        )


def _mark(axis: Axes, correct: Tensor, answered: Tensor) -> None:
    """Draw a box around the correct digit of each row (B,)."""
    for row, (digit, answer) in enumerate(zip(correct.tolist(), answered.tolist(), strict=True)):
        color = drawing.RIGHT_COLOR if digit == answer else drawing.WRONG_COLOR
        axis.plot(digit, row, "s", ms=15, mfc="none", mec=color, mew=2)
