"""What a supervised task is: nets to compare, a way to train them, a measure.

Most are made of episodes, with a loss; see ``Task``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Generator, Tensor, nn

from plasticrl.tasks.config import TaskConfig
from plasticrl.tasks.data import PROCEDURAL, Data
from plasticrl.tasks.evaluation import Measurement, evaluate
from plasticrl.tasks.fitting import Log, fit_episodes

ConfigT = TypeVar("ConfigT", bound=TaskConfig)


class Net(NamedTuple):
    """A net of the comparison."""

    name: str
    build: Callable[[], nn.Module]


class AnyTask(ABC, Generic[ConfigT]):
    """A task, with one of its configs: what ``train_supervised.py`` asks of it."""

    metric: ClassVar[str]
    """What is measured, in words."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config
        self.data: Data = PROCEDURAL

    @abstractmethod
    def nets(self) -> list[Net]:
        """The plastic net first, then its controls."""

    @abstractmethod
    def fit(self, net: nn.Module, name: str, log: Log) -> None:
        """Train a net in ``n_updates`` updates.

        Raises:
            FloatingPointError: the loss or its gradient is no longer finite.
        """

    @abstractmethod
    def evaluate(self, net: nn.Module) -> Measurement:
        """The metric on what is held out, the same for every net of a run."""


class Task(AnyTask[ConfigT]):
    """A task of episodes."""

    is_proportion: ClassVar[bool] = False
    """Whether the metric is 0 or 1 in every episode, so that Wilson's interval is the right one."""

    @abstractmethod
    def sample(self, n_episodes: int, generator: Generator, held_out: bool) -> Any:
        """Episodes, on the generator's device."""

    @abstractmethod
    def loss(self, net: nn.Module, episodes: Any) -> Tensor:
        """A scalar."""

    @abstractmethod
    def measure(self, net: nn.Module, episodes: Any) -> Tensor:
        """The metric of every episode, (B,)."""

    def optimizer(self, net: nn.Module) -> torch.optim.Optimizer:
        """Adam, on the parameters that are trained."""
        trained = [p for p in net.parameters() if p.requires_grad]
        return torch.optim.Adam(trained, lr=self.config.learning_rate)

    def fit(self, net: nn.Module, name: str, log: Log) -> None:
        fit_episodes(self, net, name, log)

    def evaluate(self, net: nn.Module) -> Measurement:
        return evaluate(self, net)
