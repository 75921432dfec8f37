"""Completing pictures that were seen a few times, from their upper or lower half.

An episode shows P pictures, each for some steps and with a pause after it, all of them C times over
in a new order; then half of one of them. After the last step the units have to be all of it.

    loss = mean over pixels of (x_j - picture_j)^2 at the last step

The units whose pixel is shown are clamped to it; in a pause none is, and with half a picture that
half. A mask says which, so that a grey of exactly 0 is clamped too. One more unit is always
clamped to 1. The half that is erased is the upper or the lower one, in half of the episodes each.
Source: DP 2018 (arXiv 1804.02464) section 4.2.
"""

import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from plasticrl.tasks.episodes import HELD_OUT_SEED, EpisodicTask, make_generator
from plasticrl.tasks.images.config import ImagesConfig
from plasticrl.tasks.images.nets import Completer, Mean, MeanOfTheRest, Mirror, NonPlastic
from plasticrl.tasks.images.sources import source
from plasticrl.tasks.task import Net

N_DRAWN = 4
"""Episodes in a run's picture."""


class ImageEpisodes(NamedTuple):
    """T steps of B episodes with pictures of S pixels."""

    inputs: Tensor
    """(T, B, 2 (S + 1)): values, then masks."""
    target: Tensor
    """(B, S)"""
    erased: Tensor
    """(B, S), true where the last steps do not show the target."""
    shown: Tensor
    """(B, P, S)"""


class Images(EpisodicTask[ImagesConfig]):
    """The task; see the module.

    Raises:
        DataError: the data set is missing, altered or damaged.
        UsageError: there are fewer pictures than an episode shows.
    """

    metric = "mean squared error of the erased half"

    def __init__(self, config: ImagesConfig) -> None:
        super().__init__(config)
        self.source = source(config)
        self.data = self.source.data

    def nets(self) -> list[Net]:
        width = self.config.size**2 + 1
        equal = round(math.sqrt(2) * width)  # weights alone: as many as weights and alphas
        return [
            Net("plastic", lambda: Completer(width, "connection")),
            Net("mean", Mean),
            Net("mean of the rest", MeanOfTheRest),
            Net("mirrored half", Mirror),
            Net("non-plastic, equal parameters", lambda: NonPlastic(width, equal)),
            Net("one shared alpha", lambda: Completer(width, "scalar")),
        ]

    def sample(self, n_episodes: int, generator: Generator, held_out: bool) -> ImageEpisodes:
        config, device = self.config, generator.device
        pictures = self.source.draw(n_episodes, generator, held_out)
        rows = torch.arange(n_episodes, device=device)
        everything, nothing = torch.ones_like(pictures[:, 0]), torch.zeros_like(pictures[:, 0])
        values, masks = [], []
        for _ in range(config.n_cycles):
            keys = torch.rand(pictures.shape[:2], generator=generator, device=device)
            for order in keys.argsort(dim=1).T:
                values += [pictures[rows, order]] * config.steps_on + [nothing] * config.steps_off
                masks += [everything] * config.steps_on + [nothing] * config.steps_off
        asked = torch.randint(config.n_pictures, (n_episodes,), generator=generator, device=device)
        target = pictures[rows, asked]
        erased = self._erased(n_episodes, generator)
        values += [target.masked_fill(erased, 0.0)] * config.probe_steps
        masks += [1.0 - erased.float()] * config.probe_steps
        biased = [F.pad(torch.stack(series), (0, 1), value=1.0) for series in (values, masks)]
        return ImageEpisodes(torch.cat(biased, dim=2), target, erased, pictures)

    def _erased(self, n_episodes: int, generator: Generator) -> Tensor:
        """Upper or lower half, (B, S), true where erased."""
        device, n_pixels = generator.device, self.config.size**2
        upper = torch.randint(2, (n_episodes, 1), generator=generator, device=device).bool()
        return upper == (torch.arange(n_pixels, device=device) < n_pixels // 2)

    def loss(self, net: nn.Module, episodes: ImageEpisodes) -> Tensor:
        return F.mse_loss(net(episodes.inputs), episodes.target)

    def measure(self, net: nn.Module, episodes: ImageEpisodes) -> Tensor:
        wrong: Tensor = (net(episodes.inputs) - episodes.target).square() * episodes.erased
        return wrong.sum(dim=1) / episodes.erased.sum(dim=1)

    def pictures(self, net: nn.Module, folder: Path) -> list[Path]:
        from plasticrl.tasks.images.drawing import draw  # late: matplotlib takes a second

        random = make_generator(HELD_OUT_SEED + self.config.seed, self.config.device)
        return draw(net, self.sample(N_DRAWN, random, held_out=True), folder)
