"""What ``train_supervised.py`` asks of a task: nets to compare, a way to train them, a measure.

Most tasks are made of episodes: see ``plasticrl.tasks.episodes``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from torch import nn

from plasticrl.tasks.config import TaskConfig
from plasticrl.tasks.data import PROCEDURAL, Data
from plasticrl.tasks.fitting import Fit
from plasticrl.tasks.summary import Measurement

ConfigT = TypeVar("ConfigT", bound=TaskConfig)


class Net(NamedTuple):
    """A net of the comparison."""

    name: str
    build: Callable[[], nn.Module]


class Task(ABC, Generic[ConfigT]):
    """A task, with one of its configs."""

    metric: str
    """What is measured, in words."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config
        self.data: Data = PROCEDURAL

    @abstractmethod
    def nets(self) -> list[Net]:
        """The plastic net first, then its controls."""

    @abstractmethod
    def fit(self, net: nn.Module) -> Fit:
        """The training of a net, at its start."""

    @abstractmethod
    def evaluate(self, net: nn.Module) -> Measurement:
        """The metric on what is held out, the same for every net of a run."""

    def pictures(self, net: nn.Module, folder: Path) -> list[Path]:
        """Draw what the plastic net does, once it is measured: the files, none if not overridden.

        Args:
            net: trained, on the config's device.
            folder: where to put them; it is there.
        """
        return []
