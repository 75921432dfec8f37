"""The sources of pictures: data sets, and a random generator of new ones."""

from typing import Any, Protocol

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from plasticrl.runs import UsageError
from plasticrl.tasks.data import DataRecord, sha256_of
from plasticrl.tasks.images import cifar10, photographs
from plasticrl.tasks.images.config import CIFAR_10, PHOTOGRAPHS, ImagesConfig
from plasticrl.tasks.images.dead_leaves import dead_leaves


class Source(Protocol):
    """A source of pictures."""

    data: DataRecord

    def draw(self, n_episodes: int, generator: Generator, held_out: bool) -> Tensor:
        """Draw normalized pictures, all different, (n_episodes, n_pictures, size^2)."""


def source(config: ImagesConfig) -> Source:
    """The source that ``config.data`` names.

    Raises:
        UsageError: there are fewer pictures than an episode shows.
        DataError: the data set is missing, altered or damaged.
    """
    if config.data == "dead-leaves":
        return DeadLeaves(config)
    return PictureSet(config)


class DeadLeaves:
    """Generates new pictures for every episode."""

    def __init__(self, config: ImagesConfig) -> None:
        self.size, self.n_pictures = config.size, config.n_pictures
        self.data = DataRecord("dead-leaves", "1", None, "other seeds")

    def draw(self, n_episodes: int, generator: Generator, held_out: bool) -> Tensor:
        pictures = dead_leaves(n_episodes * self.n_pictures, self.size, generator)
        return normalized(pictures, self.size).view(n_episodes, self.n_pictures, -1)


class PictureSet:
    """The pictures of a data set, some of them held out."""

    def __init__(self, config: ImagesConfig) -> None:
        self.n_pictures = config.n_pictures
        pair: tuple[npt.NDArray[Any], npt.NDArray[Any]]
        if config.data == "photographs":
            pair = photographs.read()
            split = "photographs " + ", ".join(p.name for p in photographs.ALL_PHOTOS if p.held_out)
            self.data = DataRecord(PHOTOGRAPHS.name, "1", PHOTOGRAPHS.sha256, split)
        else:
            paths = CIFAR_10.find(config.data_root)
            pair = cifar10.read(CIFAR_10, paths)
            self.data = DataRecord(CIFAR_10.name, "python", sha256_of(paths), "the test batch")
        training, held_out = (
            normalized(torch.from_numpy(pictures).float(), config.size).to(config.device)
            for pictures in pair
        )
        self.training, self.held_out = training, held_out
        fewest = min(len(training), len(held_out))
        if self.n_pictures > fewest:
            raise UsageError(
                f"n_pictures must be at most {fewest} with data={config.data}, "
                f"not {self.n_pictures}"
            )

    def draw(self, n_episodes: int, generator: Generator, held_out: bool) -> Tensor:
        pictures = self.held_out if held_out else self.training
        return pictures[distinct(n_episodes, self.n_pictures, len(pictures), generator)]


def normalized(pictures: Tensor, size: int) -> Tensor:
    """Average pictures down to a size, subtract the mean, divide by the largest absolute value.

    Args:
        pictures: (n, S, S), where S is a multiple of size.

    Returns:
        (n, size^2), row by row, from -1 to 1; zeros for a uniform picture. Source: the published
        code of DP 2018.
    """
    small = F.avg_pool2d(pictures.unsqueeze(1), pictures.shape[-1] // size).flatten(1)
    centered = small - small.mean(dim=1, keepdim=True)
    largest = centered.abs().amax(dim=1, keepdim=True)
    return torch.where(largest > 0, centered / largest, 0.0)


def distinct(n_rows: int, n_each: int, below: int, generator: Generator) -> Tensor:
    """Draw n_each different integers below ``below`` in each row, uniformly, (n_rows, n_each)."""
    device = generator.device
    chosen = torch.empty(n_rows, 0, dtype=torch.long, device=device)
    for n_chosen in range(n_each):
        drawn = torch.randint(below - n_chosen, (n_rows, 1), generator=generator, device=device)
        for taken in chosen.sort(dim=1).values.T:
            drawn = drawn + (drawn >= taken.unsqueeze(1))  # skip the integers already taken
        chosen = torch.cat([chosen, drawn], dim=1)
    return chosen
