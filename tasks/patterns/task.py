"""Completing patterns that were shown once or twice, from half of their bits.

An episode shows P random patterns of +1 and -1, each for some steps and followed by a pause. It
shows all of them C times, each time in a new order, and then one of them with half of its bits set
to zero. After the last step the net's units have to be the whole pattern.

    loss = mean over bits of (x_j - pattern_j)^2 at the last step

The input, times a gain, is added to the drive of a fully recurrent plastic net. It has one unit
per bit and one more, whose input is always 1. Source: DP 2018 (arXiv 1804.02464) section 4.1.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from plasticrl.tasks.episodes import EpisodicTask, make_generator
from plasticrl.tasks.patterns.config import PatternsConfig
from plasticrl.tasks.patterns.nets import (
    Associator,
    LSTMAssociator,
    NonPlastic,
    PatternEpisodes,
)
from plasticrl.tasks.task import Net

N_DRAWN = 3
"""Held-out episodes that are drawn."""
TARGET_EPISODES, TARGET_INTERVAL = 200, 50
"""Episodes of a check of the target error, and updates between two checks."""
TARGET_SEED = 2**32 - 1
"""Seed of those episodes, minus the run's seed: different from those of training and evaluation."""


class Patterns(EpisodicTask[PatternsConfig]):
    """The task that the docstring of this file describes."""

    metric = "share of wrong bits"

    def nets(self) -> list[Net]:
        config = self.config
        width = config.n_bits + 1
        equal = round(
            math.sqrt(2) * width
        )  # as many weights as the plastic net has weights and alphas
        nets = [
            Net("plastic", lambda: Associator(width, config.input_gain)),
            Net(
                "non-plastic, equal parameters",
                lambda: NonPlastic(width, equal, config.input_gain),
            ),
        ]
        if config.rnn_control:
            n_units = config.rnn_control
            nets.append(
                Net(
                    f"RNN, {n_units} units",
                    lambda: NonPlastic(width, n_units, config.input_gain, uses_control_rate=True),
                )
            )
        if config.lstm_control:
            nets.append(
                Net(
                    f"LSTM, {config.lstm_control} units",
                    lambda: LSTMAssociator(width, config.lstm_control),
                )
            )
        return nets

    def sample(self, n_episodes: int, generator: Generator, held_out: bool) -> PatternEpisodes:
        """Sample new patterns for every episode. Held-out episodes come from another seed."""
        config, device = self.config, generator.device
        shape = (n_episodes, config.n_patterns, config.n_bits)
        patterns = torch.randint(0, 2, shape, generator=generator, device=device) * 2.0 - 1.0
        rows = torch.arange(n_episodes, device=device)
        shown = []
        for _ in range(config.n_cycles):
            keys = torch.rand(shape[:2], generator=generator, device=device)
            for order in keys.argsort(dim=1).T:
                shown += [patterns[rows, order]] * config.steps_on
                shown += [torch.zeros_like(patterns[:, 0])] * config.steps_off
        probed = torch.randint(
            0, config.n_patterns, (n_episodes,), generator=generator, device=device
        )
        target = patterns[rows, probed]
        keys = torch.rand(target.shape, generator=generator, device=device)
        erased = keys.argsort(dim=1).argsort(dim=1) < config.n_bits // 2
        shown += [target.masked_fill(erased, 0.0)] * config.probe_steps
        return PatternEpisodes(F.pad(torch.stack(shown), (0, 1), value=1.0), target, patterns)

    def loss(self, net: nn.Module, episodes: PatternEpisodes) -> Tensor:
        units = net(episodes.inputs)[:, : self.config.n_bits]
        return F.mse_loss(units, episodes.target)

    def measure(self, net: nn.Module, episodes: PatternEpisodes) -> Tensor:
        units = net(episodes.inputs)[:, : self.config.n_bits]
        wrong: Tensor = (units > 0) != (episodes.target > 0)
        return wrong.float().mean(dim=1)

    def learning_rate(self, net: nn.Module, n_updates: int) -> float:
        control_rate = self.config.control_learning_rate if net.uses_control_rate else 0.0
        return control_rate or self.config.learning_rate

    def target_reached(self, net: nn.Module, n_updates: int) -> bool:
        """Whether the error on episodes with a seed of their own is at most ``target_error``."""
        target = self.config.target_error
        if not target or n_updates % TARGET_INTERVAL:
            return False
        generator = make_generator(TARGET_SEED - self.config.seed, self.config.device)
        with torch.no_grad():
            errors = self.measure(net, self.sample(TARGET_EPISODES, generator, held_out=True))
        return errors.mean().item() <= target

    def pictures(self, net: nn.Module, folder: Path) -> list[Path]:
        from plasticrl.tasks.patterns.drawing import draw  # late, since it loads matplotlib

        return draw(net, self.sample(N_DRAWN, self.held_out_generator(), held_out=True), folder)
