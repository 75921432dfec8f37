"""Measuring a net on held-out episodes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:  # a task knows how it is measured, and not the other way round
    from plasticrl.tasks.task import Task

BATCH = 100
"""Episodes measured at once; the result does not depend on it but for rounding."""
SEED = 2**31
"""Held-out episodes are drawn with it plus the run's seed, and so never with a training's."""
Z95 = 1.959963984540054


class Measurement(NamedTuple):
    """A metric's mean over episodes, with its 95 % interval."""

    value: float
    ci95: tuple[float, float]
    episodes: int


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
    return summary(torch.cat(values).double(), task.is_proportion)


def summary(values: Tensor, is_proportion: bool) -> Measurement:
    """Mean and interval: Wilson's where every value (n,) is 0 or 1, else the normal one."""
    n, mean = len(values), values.mean().item()
    if is_proportion:
        return Measurement(mean, wilson(mean, n), n)
    half = Z95 * values.std().item() / math.sqrt(n)
    return Measurement(mean, (mean - half, mean + half), n)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of n (Wilson 1927, JASA 22)."""
    z2 = Z95**2 / n
    centre = (share + z2 / 2) / (1 + z2)
    half = math.sqrt(share * (1 - share) * z2 + z2**2 / 4) / (1 + z2)
    return centre - half, centre + half
