"""Measuring a net on held-out episodes."""

from typing import Any

import torch
from torch import Tensor, nn

from plasticrl.tasks.summary import Measurement
from plasticrl.tasks.task import Task

BATCH = 100
"""Episodes measured at once; the result does not depend on it but for rounding."""
SEED = 2**31
"""Held-out episodes are drawn with it plus the run's seed, and so never with a training's."""


def generator(seed: int, device: str) -> torch.Generator:
    """Random numbers on a device."""
    return torch.Generator(device).manual_seed(seed)


@torch.no_grad()
def evaluate(task: Task[Any], net: nn.Module) -> Measurement:
    """Measure on ``evaluation_episodes`` held-out episodes, the same for every net of a run."""
    config = task.config
    random = generator(SEED + config.seed, config.device)
    was_training = net.training
    net.eval()
    values: list[Tensor] = []
    left = config.evaluation_episodes
    while left:
        n_episodes = min(left, BATCH)
        values.append(task.measure(net, task.sample(n_episodes, random, held_out=True)).cpu())
        left -= n_episodes
    net.train(was_training)
    return task.summary(torch.cat(values).double())
