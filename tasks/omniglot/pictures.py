"""What the plastic net does, to look at: held-out episodes with its answers, and both sets."""

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn

from plasticrl.tasks.omniglot.characters import Characters
from plasticrl.tasks.omniglot.nets import OneShotEpisodes

PAPER, INK, RIGHT, WRONG, OTHER = "#ffffff", "#333333", "#2a7f62", "#c8553d", "#c9c9c9"
DPI = 110
SIDE = 10
"""Characters side by side, and one below the other, of each set."""


@torch.no_grad()
def draw_episodes(net: nn.Module, episodes: OneShotEpisodes, path: Path) -> Path:
    """A row for each episode: labelled images in order of their labels, query, probabilities."""
    probabilities = net(episodes)[0].cpu()
    n_ways, n_rows = episodes.labels.shape
    figure = Figure(figsize=(1.0 * (n_ways + 1) + 2.6, 1.15 * n_rows + 0.4), layout="constrained")
    axes = figure.subplots(
        n_rows, n_ways + 2, squeeze=False, width_ratios=[1.0] * (n_ways + 1) + [2.4]
    )
    for row in range(n_rows):
        for label, shown in enumerate(episodes.labels[:, row].argsort().tolist()):
            title = f"shown as {label + 1}" if row == 0 else ""
            _image(axes[row, label], episodes.images[shown, row], title)
        _image(axes[row, n_ways], episodes.queries[0, row], "which?" if row == 0 else "")
        answer = int(episodes.answers[0, row])
        _bars(axes[row, n_ways + 1], probabilities[row], answer, "the net's answer", row == 0)
    figure.savefig(path, dpi=DPI, facecolor=PAPER)
    return path


def draw_sets(characters: Characters, generator: Generator, path: Path) -> Path:
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
        _image(axis, rows.flatten(2, 3).flatten(0, 1), text, size=11)
    figure.savefig(path, dpi=DPI, facecolor=PAPER)
    return path


def _image(axis: Axes, image: Tensor, title: str, size: int = 9) -> None:
    axis.imshow(image.cpu().numpy(), cmap="Greys", vmin=0, vmax=1)
    axis.set_title(title, fontsize=size, color=INK)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_color(OTHER)


def _bars(axis: Axes, values: Tensor, answer: int, title: str, is_first: bool) -> None:
    """Probabilities by label: the right one in green, a wrong choice in red."""
    chosen = int(values.argmax())
    places = [label + 1 for label in range(len(values))]
    colours = [
        RIGHT if label == answer else WRONG if label == chosen else OTHER
        for label in range(len(values))
    ]
    axis.bar(places, values.tolist(), color=colours)
    axis.set_ylim(0, 1)
    axis.set_xticks(places)
    axis.set_yticks([0, 1])
    axis.tick_params(labelsize=8, colors=INK)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(title if is_first else "", fontsize=9, color=INK)
    verdict = "right" if chosen == answer else f"wrong: it is {answer + 1}"
    axis.text(1.02, 0.5, verdict, transform=axis.transAxes, fontsize=8, va="center",
              color=RIGHT if chosen == answer else WRONG)  # fmt: skip
