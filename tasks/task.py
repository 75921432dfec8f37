"""The interface of a task: the nets it compares, how each is trained, and how it is evaluated.

Most tasks are made of episodes and derive from ``plasticrl.tasks.episodes.EpisodicTask``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from torch import nn

from plasticrl.tasks.config import TaskConfig
from plasticrl.tasks.data import PROCEDURAL, DataRecord
from plasticrl.tasks.fitting import Fit
from plasticrl.tasks.summary import Measurement

ConfigT = TypeVar("ConfigT", bound=TaskConfig)


class Net(NamedTuple):
    """One of the nets that a run compares."""

    name: str
    build: Callable[[], nn.Module]


class Task(ABC, Generic[ConfigT]):
    """A supervised task with its config."""

    metric: str
    """The name of the measured quantity, as it is printed."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config
        self.data: DataRecord = PROCEDURAL

    @abstractmethod
    def nets(self) -> list[Net]:
        """All nets of a run: the plastic net first, then its controls."""

    @abstractmethod
    def fit(self, net: nn.Module) -> Fit:
        """The training of a net, before its first update."""

    @abstractmethod
    def evaluate(self, net: nn.Module) -> Measurement:
        """Measure the metric on held-out data, which is the same for every net of a run."""

    def ablate(self, net: nn.Module) -> nn.Module | None:
        """Return a copy of a trained net without its plasticity, to be evaluated as well.

        By default this is None: the task evaluates no such net.
        """
        return None

    def pictures(self, net: nn.Module, folder: Path) -> list[Path]:
        """Draw pictures of the plastic net and return their files. By default there are none.

        Args:
            net: the trained net, on the config's device.
            folder: an existing folder for the files.
        """
        return []
