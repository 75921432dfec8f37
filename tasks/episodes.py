"""Tasks made of episodes. Each update uses new ones; held-out ones are kept for the evaluation."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Generator, Tensor, nn

from plasticrl.runs import RunError
from plasticrl.tasks.fitting import Fit
from plasticrl.tasks.summary import Measurement, mean
from plasticrl.tasks.task import ConfigT, Task

EVALUATION_BATCH_SIZE = 100
"""Held-out episodes sampled at a time. Another number would give other episodes."""
HELD_OUT_SEED = 2**31
"""The held-out episodes' seed is this plus the run's seed, so that no training run shares it."""


def make_generator(seed: int, device: str) -> Generator:
    """A random number generator on a device."""
    return Generator(device).manual_seed(seed)


class EpisodicTask(Task[ConfigT]):
    """A task that samples episodes and defines a loss on them."""

    @abstractmethod
    def sample(self, n_episodes: int, generator: Generator, held_out: bool) -> Any:
        """Sample episodes on the generator's device."""

    @abstractmethod
    def loss(self, net: nn.Module, episodes: Any) -> Tensor:
        """The training loss, a scalar."""

    @abstractmethod
    def measure(self, net: nn.Module, episodes: Any) -> Tensor:
        """The metric of each episode, (B,)."""

    def summary(self, values: Tensor) -> Measurement:
        """Summarize the metric of all held-out episodes, (n,). By default this is their mean."""
        return mean(values)

    def optimizer(self, net: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of the trainable parameters. By default this is Adam."""
        trained = [p for p in net.parameters() if p.requires_grad]
        return torch.optim.Adam(trained, lr=self.config.learning_rate)

    def learning_rate(self, net: nn.Module, n_updates: int) -> float:
        """The learning rate after a number of updates."""
        return self.config.learning_rate

    def target_reached(self, net: nn.Module, n_updates: int) -> bool:
        """Whether training may stop early. This is called after each update."""
        return False

    def fit(self, net: nn.Module) -> Fit:
        """``n_updates`` updates of ``batch_size`` new episodes each, or fewer at the target."""
        return EpisodicFit(net, self)

    def held_out_generator(self) -> Generator:
        """The generator of the held-out episodes, at its start."""
        return make_generator(HELD_OUT_SEED + self.config.seed, self.config.device)

    @torch.no_grad()
    def evaluate(self, net: nn.Module) -> Measurement:
        """Measure ``evaluation_episodes`` held-out episodes, the same for every net of a run."""
        generator = self.held_out_generator()
        was_training = net.training
        net.eval()
        values: list[Tensor] = []
        n_left = self.config.evaluation_episodes
        while n_left:
            n_episodes = min(n_left, EVALUATION_BATCH_SIZE)
            episodes = self.sample(n_episodes, generator, held_out=True)
            values.append(self.measure(net, episodes).cpu())
            n_left -= n_episodes
        net.train(was_training)
        return self.summary(torch.cat(values).double())


class EpisodicFit(Fit):
    """The training of a net on the episodes of a task."""

    def __init__(self, net: nn.Module, task: EpisodicTask[Any]) -> None:
        super().__init__(net, task.optimizer(net), task.config)
        self.task = task
        self.generator = make_generator(task.config.seed, task.config.device)

    def loss(self) -> tuple[Tensor, float]:
        episodes = self.task.sample(self.config.batch_size, self.generator, held_out=False)
        loss = self.task.loss(self.net, episodes)
        return loss, loss.item()

    def learning_rate(self) -> float:
        return self.task.learning_rate(self.net, self.n_updates)

    def target_reached(self) -> bool:
        return self.task.target_reached(self.net, self.n_updates)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "episodes": self.generator.get_state()}

    def form(self, state: dict[str, Any]) -> dict[str, Any]:
        return {**super().form(state), "episodes": self.generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        try:
            self.generator.set_state(state["episodes"])
        except RuntimeError as error:
            raise RunError("its 'episodes' is not the state of a generator") from error
