"""The interface of a set of characters: training classes, held-out classes and their images."""

from abc import ABC, abstractmethod

from torch import Generator, Tensor

from plasticrl.tasks.data import DataRecord

IMAGE_SIZE = 31
"""Side of an image in pixels. Ink is 1 on a background of 0; DP 2018."""


class Characters(ABC):
    """A set of characters.

    Args:
        data: the record for ``evaluation.json``.
        training: indices of the training classes (n,).
        held_out: indices of the classes for the evaluation (m,).
    """

    def __init__(self, data: DataRecord, training: Tensor, held_out: Tensor) -> None:
        self.data, self.training, self.held_out = data, training, held_out

    @abstractmethod
    def draw(self, classes: Tensor, generator: Generator) -> Tensor:
        """Draw images (B, M, 31, 31) of classes (B, M); each row has M different drawings."""
