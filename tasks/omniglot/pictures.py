"""What the plastic net does, to look at: held-out episodes with its answers, and both sets."""

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from plasticrl.tasks import drawing
from plasticrl.tasks.omniglot.characters import Characters
from plasticrl.tasks.omniglot.nets import OneShotEpisodes

SIDE = 10
"""Characters side by side, and one below the other, of each set."""


@torch.no_grad()
def draw(
    net: nn.Module,
    episodes: OneShotEpisodes,
    characters: Characters,
    generator: Generator,
    folder: Path,
) -> list[Path]:
    """``episodes.png``, a row for each episode, and ``characters.png``, some of both sets.

    Args:
        net: the plastic net.
        episodes: held-out ones, a few.
        characters: both sets, of which ``generator`` draws images.
        folder: where to put the files.
    """
    return drawing.save(
        folder, episodes=_episodes(net, episodes), characters=_sets(characters, generator)
    )


def _episodes(net: nn.Module, episodes: OneShotEpisodes) -> Figure:
    """Labelled images in order of their labels, query, probabilities."""
    probabilities = net(episodes)[0].cpu()
    n_ways, n_rows = episodes.labels.shape
    figure = Figure(figsize=(1.0 * (n_ways + 1) + 2.6, 1.15 * n_rows + 0.4), layout="constrained")
    axes = figure.subplots(
        n_rows, n_ways + 2, squeeze=False, width_ratios=[1.0] * (n_ways + 1) + [2.4]
    )
    for row in range(n_rows):
        for label, shown in enumerate(episodes.labels[:, row].argsort().tolist()):
            title = f"shown as {label + 1}" if row == 0 else ""
            _ink(axes[row, label], episodes.images[shown, row], title)
        _ink(axes[row, n_ways], episodes.queries[0, row], "which?" if row == 0 else "")
        answer = int(episodes.answers[0, row])
        _bars(axes[row, n_ways + 1], probabilities[row], answer, "the net's answer", row == 0)
    return figure


def _sets(characters: Characters, generator: Generator) -> Figure:
    """Some characters that are trained on beside some that are held out, an image of each."""
    figure = Figure(figsize=(10.4, 5.6), layout="constrained")
    for axis, title, classes in zip(
        figure.subplots(1, 2),
        ("to train on", "held out"),
        (characters.training, characters.held_out),
        strict=True,
    ):
        n_shown = min(SIDE**2, len(classes))
        spread = torch.linspace(0, len(classes) - 1, n_shown, device=classes.device).long()
        images = characters.draw(classes[spread].unsqueeze(1), generator).squeeze(1)
        blank = images.new_zeros(SIDE**2 - n_shown, *images.shape[1:])
        rows = torch.cat([images, blank]).view(SIDE, SIDE, *images.shape[1:]).transpose(1, 2)
        text = f"{title}: {n_shown:,} of {len(classes):,} characters"
        _ink(axis, rows.flatten(2, 3).flatten(0, 1), text)
    return figure


def _ink(axis: Axes, image: Tensor, title: str) -> None:
    """An image of ink from 0 to 1, black on white."""
    drawing.show(axis, 1 - 2 * image, title)


def _bars(axis: Axes, values: Tensor, answer: int, title: str, is_first: bool) -> None:
    """Probabilities by label: the right one in green, a wrong choice in red."""
    chosen = int(values.argmax())
    places = [label + 1 for label in range(len(values))]
    colours = [
        drawing.RIGHT if label == answer else drawing.WRONG if label == chosen else drawing.OTHER
        for label in range(len(values))
    ]
    axis.bar(places, values.tolist(), color=colours)
    axis.set_ylim(0, 1)
    axis.set_xticks(places)
    axis.set_yticks([0, 1])
    axis.tick_params(labelsize=8, colors=drawing.INK)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(title if is_first else "", fontsize=9, color=drawing.INK)
    verdict = "right" if chosen == answer else f"wrong: it is {answer + 1}"
    axis.text(1.02, 0.5, verdict, transform=axis.transAxes, fontsize=8, va="center",
              color=drawing.RIGHT if chosen == answer else drawing.WRONG)  # fmt: skip
