"""Figures of held-out episodes with the plastic net's answers, and of the characters."""

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from plasticrl.tasks import drawing
from plasticrl.tasks.omniglot.characters import Characters
from plasticrl.tasks.omniglot.nets import OneShotEpisodes

GRID_SIDE = 10
"""Characters in each row and column of the figure of the characters."""


@torch.no_grad()
def draw(
    net: nn.Module,
    episodes: OneShotEpisodes,
    characters: Characters,
    generator: Generator,
    folder: Path,
) -> list[Path]:
    """Save ``episodes.png``, with a row for each episode, and ``characters.png``.

    Args:
        net: the plastic net.
        episodes: a few held-out episodes.
        characters: the training and held-out characters.
        generator: for drawing images of them.
        folder: where the files are saved.
    """
    return drawing.save(
        folder, episodes=_episodes(net, episodes), characters=_characters(characters, generator)
    )


def _episodes(net: nn.Module, episodes: OneShotEpisodes) -> Figure:
    """A row for each episode: images in the order of their labels, query, probabilities."""
    probabilities = net(episodes)[0].cpu()
    n_ways, n_rows = episodes.labels.shape
    figure = Figure(figsize=(1.0 * (n_ways + 1) + 2.6, 1.15 * n_rows + 0.4), layout="constrained")
    axes = figure.subplots(
        n_rows, n_ways + 2, squeeze=False, width_ratios=[1.0] * (n_ways + 1) + [2.4]
    )
    for row in range(n_rows):
        for label, position in enumerate(episodes.labels[:, row].argsort().tolist()):
            title = f"shown as {label + 1}" if row == 0 else ""
            _show_ink(axes[row, label], episodes.images[position, row], title)
        _show_ink(axes[row, n_ways], episodes.queries[0, row], "which?" if row == 0 else "")
        answer = int(episodes.answers[0, row])
        _bars(axes[row, n_ways + 1], probabilities[row], answer, "the net's answer", row == 0)
    return figure


def _characters(characters: Characters, generator: Generator) -> Figure:
    """Some training characters beside some held-out ones, one image of each."""
    figure = Figure(figsize=(10.4, 5.6), layout="constrained")
    for axis, title, classes in zip(
        figure.subplots(1, 2),
        ("to train on", "held out"),
        (characters.training, characters.held_out),
        strict=True,
    ):
        n_shown = min(GRID_SIDE**2, len(classes))
        spread = torch.linspace(0, len(classes) - 1, n_shown, device=classes.device).long()
        images = characters.draw(classes[spread].unsqueeze(1), generator).squeeze(1)
        blank = images.new_zeros(GRID_SIDE**2 - n_shown, *images.shape[1:])
        grid = torch.cat([images, blank]).view(GRID_SIDE, GRID_SIDE, *images.shape[1:])
        text = f"{title}: {n_shown:,} of {len(classes):,} characters"
        _show_ink(axis, grid.transpose(1, 2).flatten(2, 3).flatten(0, 1), text)
    return figure


def _show_ink(axis: Axes, image: Tensor, title: str) -> None:
    """Show an image with ink from 0 to 1, black on white."""
    drawing.show_picture(axis, 1 - 2 * image, title)


def _bars(axis: Axes, values: Tensor, answer: int, title: str, is_first: bool) -> None:
    """Plot the probability of each label: the correct one in green, a wrong choice in red."""
    chosen = int(values.argmax())
    places = [label + 1 for label in range(len(values))]
    colors = [drawing.NEUTRAL_COLOR] * len(values)
    colors[chosen] = drawing.WRONG_COLOR
    colors[answer] = drawing.RIGHT_COLOR
    axis.bar(places, values.tolist(), color=colors)
    axis.set_ylim(0, 1)
    axis.set_xticks(places)
    axis.set_yticks([0, 1])
    axis.tick_params(labelsize=8, colors=drawing.TEXT_COLOR)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(title if is_first else "", fontsize=9, color=drawing.TEXT_COLOR)
    verdict = "right" if chosen == answer else f"wrong: it is {answer + 1}"
    axis.text(1.02, 0.5, verdict, transform=axis.transAxes, fontsize=8, va="center",
              color=drawing.RIGHT_COLOR if chosen == answer else drawing.WRONG_COLOR)  # fmt: skip
