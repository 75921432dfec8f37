"""One-shot classification of characters whose classes were not in the training.

An episode shows one image of each of K characters with its label, then one more image of one of
them, whose label has to be predicted. Each character is rotated by a random multiple of 90 degrees,
the same in all of its images. Four convolutions compute the embedding f of an image, and a plastic
readout associates it with the label:

    y = softmax( (w + alpha * H) f + 1000 onehot(label) ),   H changes by Hebb's or Oja's rule
    loss = -log y_answer at the query

Source: DP 2018 (arXiv 1804.02464) section 4.4.
"""

from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from plasticrl.runs import UsageError
from plasticrl.tasks.episodes import EpisodicTask
from plasticrl.tasks.omniglot.characters import Characters
from plasticrl.tasks.omniglot.config import OmniglotConfig
from plasticrl.tasks.omniglot.drawings import read_omniglot
from plasticrl.tasks.omniglot.glyphs import Glyphs
from plasticrl.tasks.omniglot.nets import KERNEL, NearestPixels, OneShot, OneShotEpisodes
from plasticrl.tasks.summary import Measurement, share
from plasticrl.tasks.task import Net

TINY = 1e-30
"""Lower bound of a probability, which keeps its logarithm finite."""
N_DRAWN = 6
"""Held-out episodes that are drawn."""


class Omniglot(EpisodicTask[OmniglotConfig]):
    """The task that the docstring of this file describes."""

    metric = "share of right answers"

    def __init__(self, config: OmniglotConfig) -> None:
        super().__init__(config)
        self.characters: Characters = (
            Glyphs(config.device)
            if config.data == "glyphs"
            else read_omniglot(config.data_root, config.device)
        )
        self.data = self.characters.data
        n_classes = min(len(self.characters.training), len(self.characters.held_out))
        if config.n_ways > n_classes:
            raise UsageError(
                f"n_ways must be at most {n_classes}, the smaller number of training and held-out "
                f"characters of {self.data.name}, not {config.n_ways}"
            )

    def nets(self) -> list[Net]:
        config = self.config
        # More channels in the last convolution replace the parameters alpha and eta.
        missing = config.n_ways * config.channels + 1
        per_channel = config.channels * KERNEL**2 + 1 + config.n_ways
        equal = config.channels + round(missing / per_channel)
        return [
            Net("plastic", lambda: OneShot(config, config.channels, plastic=True)),
            Net("non-plastic, equal parameters", lambda: OneShot(config, equal, plastic=False)),
            Net("nearest pixels", NearestPixels),
        ]

    def sample(self, n_episodes: int, generator: Generator, held_out: bool) -> OneShotEpisodes:
        """Sample episodes of different characters; a held-out episode has one query."""
        n_ways, device = self.config.n_ways, generator.device
        n_queries = 1 if held_out else self.config.n_queries
        classes = self.characters.held_out if held_out else self.characters.training
        keys = torch.rand(n_episodes, len(classes), generator=generator, device=device)
        chosen = classes[keys.topk(n_ways).indices]
        queried = torch.randint(
            0, n_ways, (n_episodes, n_queries), generator=generator, device=device
        )
        which = torch.cat([torch.arange(n_ways, device=device).expand(n_episodes, -1), queried], 1)
        images = self.characters.draw(chosen.gather(1, which), generator)
        quarters = torch.randint(0, 4, (n_episodes, n_ways), generator=generator, device=device)
        images = rotated(images, quarters.gather(1, which)).transpose(0, 1)
        labels = torch.rand(n_episodes, n_ways, generator=generator, device=device).argsort(dim=1)
        return OneShotEpisodes(
            images[:n_ways], labels.T, images[n_ways:], labels.gather(1, queried).T
        )

    def loss(self, net: nn.Module, episodes: OneShotEpisodes) -> Tensor:
        right: Tensor = net(episodes).gather(2, episodes.answers.unsqueeze(2))
        return -right.clamp_min(TINY).log().mean()

    def measure(self, net: nn.Module, episodes: OneShotEpisodes) -> Tensor:
        right: Tensor = net(episodes).argmax(dim=2) == episodes.answers
        return right.float().mean(dim=0)

    def summary(self, values: Tensor) -> Measurement:
        return share(values)

    def learning_rate(self, net: nn.Module, n_updates: int) -> float:
        """The learning rate, which is multiplied by ``decay`` every ``decay_every`` updates."""
        n_decays = n_updates // self.config.decay_every
        return self.config.learning_rate * self.config.decay**n_decays

    def pictures(self, net: nn.Module, folder: Path) -> list[Path]:
        from plasticrl.tasks.omniglot.pictures import draw  # late, since it loads matplotlib

        generator = Generator(self.config.device).manual_seed(self.config.seed)
        episodes = self.sample(N_DRAWN, generator, held_out=True)
        return draw(net, episodes, self.characters, generator, folder)


def rotated(images: Tensor, quarters: Tensor) -> Tensor:
    """Rotate images (..., S, S) by multiples (...) of 90 degrees."""
    for quarter in (1, 2, 3):
        selected = (quarters == quarter)[..., None, None]
        images = torch.where(selected, images.rot90(quarter, (-2, -1)), images)
    return images
