"""Tasks of episodes: every update is made on new ones, and others are held out to measure with."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Generator, Tensor, nn

from plasticrl.tasks.fitting import REPORTS, SMOOTHING, Log, progress, step
from plasticrl.tasks.summary import Measurement, mean
from plasticrl.tasks.task import ConfigT, Ended, Task

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

    def enough(self, net: nn.Module, update: int) -> bool:
        """Whether training may stop after so many updates; asked after each."""
        return False

    def fit(self, net: nn.Module, name: str, log: Log) -> Ended:
        """``n_updates`` updates, each on ``batch_size`` new episodes, or as many as are enough."""
        config = self.config
        random = generator(config.seed, config.device)
        optimizer = self.optimizer(net)
        smooth = None
        with progress(name, config.n_updates) as advance:
            for update in range(1, config.n_updates + 1):
                loss = self.loss(net, self.sample(config.batch_size, random, held_out=False))
                norm = step(net, optimizer, loss, config.max_grad_norm, f"{name}, update {update}")
                value = loss.item()
                smooth = value if smooth is None else SMOOTHING * smooth + (1 - SMOOTHING) * value
                advance(smooth)
                if update % max(1, config.n_updates // REPORTS) == 0:
                    log(update * config.batch_size, {"train/loss": smooth, "train/grad_norm": norm})
                if self.enough(net, update):
                    return Ended(update, "target")
        return Ended(config.n_updates, "updates")

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
