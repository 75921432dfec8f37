"""Tasks of episodes: every update is made on new ones, and others are held out to measure with."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Generator, Tensor, nn

from plasticrl.tasks.fitting import Fit
from plasticrl.tasks.summary import Measurement, mean
from plasticrl.tasks.task import ConfigT, Task

MEASURED_AT_ONCE = 100
"""Held-out episodes, which are drawn in such batches: another number draws other ones."""
HELD_OUT_SEED = 2**31
"""Held-out episodes are drawn with it plus the run's seed, and so never with a training's."""


def generator(seed: int, device: str) -> Generator:
    """Random numbers on a device."""
    return Generator(device).manual_seed(seed)


class EpisodicTask(Task[ConfigT]):
    """A task whose episodes are sampled, with a loss."""

    @abstractmethod
    def sample(self, n_episodes: int, generator: Generator, held_out: bool) -> Any:
        """Episodes, on the generator's device."""

    @abstractmethod
    def loss(self, net: nn.Module, episodes: Any) -> Tensor:
        """A scalar."""

    @abstractmethod
    def measure(self, net: nn.Module, episodes: Any) -> Tensor:
        """The metric of every episode, (B,)."""

    def summary(self, values: Tensor) -> Measurement:
        """What is told of the metric's values in all held-out episodes (n,): their mean."""
        return mean(values)

    def optimizer(self, net: nn.Module) -> torch.optim.Optimizer:
        """Adam, on the parameters that are trained."""
        trained = [p for p in net.parameters() if p.requires_grad]
        return torch.optim.Adam(trained, lr=self.config.learning_rate)

    def rate(self, net: nn.Module, n_updates: int) -> float:
        """The learning rate after so many updates."""
        return self.config.learning_rate

    def enough(self, net: nn.Module, update: int) -> bool:
        """Whether training may stop after so many updates; asked after each."""
        return False

    def fit(self, net: nn.Module) -> Fit:
        """``n_updates`` updates, each on ``batch_size`` new episodes, or as many as are enough."""
        return EpisodicFit(net, self)

    @torch.no_grad()
    def evaluate(self, net: nn.Module) -> Measurement:
        """Over ``evaluation_episodes`` held-out episodes, the same for every net of a run."""
        random = generator(HELD_OUT_SEED + self.config.seed, self.config.device)
        was_training = net.training
        net.eval()
        values: list[Tensor] = []
        left = self.config.evaluation_episodes
        while left:
            n_episodes = min(left, MEASURED_AT_ONCE)
            values.append(self.measure(net, self.sample(n_episodes, random, held_out=True)).cpu())
            left -= n_episodes
        net.train(was_training)
        return self.summary(torch.cat(values).double())


class EpisodicFit(Fit):
    """The training of a net on a task's episodes."""

    def __init__(self, net: nn.Module, task: EpisodicTask[Any]) -> None:
        super().__init__(net, task.optimizer(net), task.config)
        self.task = task
        self.random = generator(task.config.seed, task.config.device)

    def loss(self) -> tuple[Tensor, float]:
        episodes = self.task.sample(self.config.batch_size, self.random, held_out=False)
        loss = self.task.loss(self.net, episodes)
        return loss, loss.item()

    def rate(self) -> float:
        return self.task.rate(self.net, self.n_updates)

    def enough(self) -> bool:
        return self.task.enough(self.net, self.n_updates)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "episodes": self.random.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.random.set_state(state["episodes"])
