"""What a supervised task is: episodes to learn from, nets to compare, a loss and a measure."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Generator, Tensor, nn

from plasticrl.tasks.config import TaskConfig
from plasticrl.tasks.data import PROCEDURAL

ConfigT = TypeVar("ConfigT", bound=TaskConfig)


class Net(NamedTuple):
    """A net of the comparison."""

    name: str
    build: Callable[[], nn.Module]


class Task(ABC, Generic[ConfigT]):
    """A task, with one of its configs."""

    metric: ClassVar[str]
    """What ``measure`` gives, in words."""
    is_proportion: ClassVar[bool] = False
    """Whether it is 0 or 1 in every episode, so that Wilson's interval is the right one."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config
        self.data = PROCEDURAL

    @abstractmethod
    def nets(self) -> list[Net]:
        """The plastic net first, then its controls."""

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

    def pictures(self, net: nn.Module, folder: Path) -> list[Path]:
        """Draw what the plastic net does, once it is measured: the files, none if not overridden.

        Args:
            net: trained, on the config's device.
            folder: where to put them; it is there.
        """
        return []
