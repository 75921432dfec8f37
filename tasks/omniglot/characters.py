"""Where images of characters come from: classes to train on, others held out, and their images."""

from abc import ABC, abstractmethod

from torch import Generator, Tensor

from plasticrl.tasks.data import DataRecord

IMAGE_SIZE = 31
"""Pixels of either side of an image, ink 1 on 0; DP 2018."""


class Characters(ABC):
    """A set of characters.

    Args:
        data: what ``evaluation.json`` says of it.
        training: classes to train on, by number (n,).
        held_out: classes to measure on, by number (m,).
    """

    def __init__(self, data: DataRecord, training: Tensor, held_out: Tensor) -> None:
        self.data, self.training, self.held_out = data, training, held_out

    @abstractmethod
    def draw(self, classes: Tensor, generator: Generator) -> Tensor:
        """Images (B, M, 31, 31) of classes (B, M), no two of a row from the same drawing."""
