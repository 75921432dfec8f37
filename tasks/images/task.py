"""Completing pictures that were shown a few times, from their upper or lower half.

An episode shows P pictures, each for some steps and followed by a pause. It shows all of them C
times, each time in a new order, and then one half of one of them. After the last step the units
have to be the whole picture.

    loss = mean over pixels of (x_j - picture_j)^2 at the last step

Units are clamped to the pixels that are shown: all in a picture, none in a pause, and the visible
ones at the end. A mask selects them, so that a pixel of exactly 0 can be clamped too. One more unit
is always clamped to 1. The erased half is the upper or the lower one, with equal probability.
Source: DP 2018 (arXiv 1804.02464) section 4.2.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from plasticrl.tasks.episodes import EpisodicTask
from plasticrl.tasks.images.config import ImagesConfig
from plasticrl.tasks.images.nets import (
    Completer,
    ImageEpisodes,
    Mean,
    MeanOfTheRest,
    Mirror,
    NonPlastic,
)
from plasticrl.tasks.images.sources import source
from plasticrl.tasks.task import Net

N_DRAWN = 4
"""Held-out episodes that are drawn."""


class Images(EpisodicTask[ImagesConfig]):
    """The task that the docstring of this file describes.

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
        # As many weights as the plastic net has weights and alphas together.
        equal = round(math.sqrt(2) * width)
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
        ones, zeros = torch.ones_like(pictures[:, 0]), torch.zeros_like(pictures[:, 0])
        values, masks = [], []
        for _ in range(config.n_cycles):
            keys = torch.rand(pictures.shape[:2], generator=generator, device=device)
            for order in keys.argsort(dim=1).T:
                values += [pictures[rows, order]] * config.steps_on + [zeros] * config.steps_off
                masks += [ones] * config.steps_on + [zeros] * config.steps_off
        probed = torch.randint(config.n_pictures, (n_episodes,), generator=generator, device=device)
        target = pictures[rows, probed]
        erased = self._erased(n_episodes, generator)
        values += [target.masked_fill(erased, 0.0)] * config.probe_steps
        masks += [1.0 - erased.float()] * config.probe_steps
        biased = [F.pad(torch.stack(series), (0, 1), value=1.0) for series in (values, masks)]
        return ImageEpisodes(torch.cat(biased, dim=2), target, erased, pictures)

    def _erased(self, n_episodes: int, generator: Generator) -> Tensor:
        """A mask (B, S) that is true in the erased half, which is the upper or the lower one."""
        device, n_pixels = generator.device, self.config.size**2
        upper = torch.randint(2, (n_episodes, 1), generator=generator, device=device).bool()
        return upper == (torch.arange(n_pixels, device=device) < n_pixels // 2)

    def loss(self, net: nn.Module, episodes: ImageEpisodes) -> Tensor:
        return F.mse_loss(net(episodes.inputs), episodes.target)

    def measure(self, net: nn.Module, episodes: ImageEpisodes) -> Tensor:
        errors: Tensor = (net(episodes.inputs) - episodes.target).square() * episodes.erased
        return errors.sum(dim=1) / episodes.erased.sum(dim=1)

    def pictures(self, net: nn.Module, folder: Path) -> list[Path]:
        from plasticrl.tasks.images.drawing import draw  # late, since it loads matplotlib

        return draw(net, self.sample(N_DRAWN, self.held_out_generator(), held_out=True), folder)
