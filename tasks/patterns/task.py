"""Completing patterns that were seen once or twice, from half of their bits.

An episode shows P random patterns of +1 and -1, each for some steps and with a pause after it, all
of them C times over in a new order; then one of them with half of its bits set to zero. After the
last step the net's units have to be the whole pattern.

    loss = mean over bits of (x_j - pattern_j)^2 at the last step

The input, times a gain, is added to the drive of a fully recurrent plastic net with one unit for
each bit and one more, whose input is always 1. Source: DP 2018 (arXiv 1804.02464) section 4.1.
"""

import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from plasticrl.core import build_cell, sequence
from plasticrl.tasks.episodes import HELD_OUT_SEED, EpisodicTask, make_generator
from plasticrl.tasks.patterns.config import PatternsConfig
from plasticrl.tasks.task import Net

INIT_STD = 0.01
"""Of the non-plastic weights, as of the plastic net's."""
N_DRAWN = 3
"""Held-out episodes in the picture."""
CHECKED, CHECKED_EVERY = 200, 50
"""Episodes to see whether the target is reached, and updates from one look to the next."""
LAST_SEED = 2**32 - 1
"""Those episodes' seed, less the run's: neither the training's nor the evaluation's."""


class PatternEpisodes(NamedTuple):
    """T steps of B episodes."""

    inputs: Tensor
    """(T, B, n_bits + 1), not yet multiplied with the gain."""
    target: Tensor
    """(B, n_bits)"""
    patterns: Tensor
    """(B, n_patterns, n_bits), of which the target is one."""


class Associator(nn.Module):
    """A plastic net whose units are the pattern's bits; inputs are added to their drive."""

    larger = False

    def __init__(self, width: int, gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.cell = build_cell(
            "plastic_rnn",
            width,
            hidden_size=width,
            input_mode="additive",
            bound="decay",
            eta_init=0.01,
            weight_init="normal",
            alpha_init="normal",
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(T, B, width) -> the last step's units (B, width)."""
        outputs, _ = sequence(self.cell, inputs * self.gain)
        return outputs[-1]


class NonPlastic(nn.Module):
    """The same without plasticity and with more units, which are given no input.

        x(t) = tanh( gain u(t) + w x(t-1) )

    ``larger`` is the control with a learning rate of its own, as the LSTM.
    """

    def __init__(self, width: int, n_units: int, gain: float, larger: bool = False) -> None:
        super().__init__()
        self.width, self.gain, self.larger = width, gain, larger
        self.weight = nn.Parameter(torch.empty(n_units, n_units))
        nn.init.normal_(self.weight, std=INIT_STD)

    def forward(self, inputs: Tensor) -> Tensor:
        """(T, B, width) -> the last step's units (B, width)."""
        n_units = len(self.weight)
        hidden = inputs.new_zeros(inputs.shape[1], n_units)
        for drive in F.pad(inputs * self.gain, (0, n_units - self.width)):
            hidden = torch.tanh(drive + F.linear(hidden, self.weight))
        return hidden[:, : self.width]


class LSTMAssociator(nn.Module):
    """An LSTM that reads the same inputs; its first units are read as the pattern's bits."""

    larger = True

    def __init__(self, width: int, n_units: int) -> None:
        super().__init__()
        self.width = width
        self.cell = build_cell("lstm", width, hidden_size=n_units)

    def forward(self, inputs: Tensor) -> Tensor:
        """(T, B, width) -> the last step's units (B, width)."""
        outputs, _ = sequence(self.cell, inputs)
        return outputs[-1, :, : self.width]


class Patterns(EpisodicTask[PatternsConfig]):
    """The task; see the module."""

    metric = "share of wrong bits"

    def nets(self) -> list[Net]:
        config = self.config
        width = config.n_bits + 1
        equal = round(math.sqrt(2) * width)  # weights alone: as many as weights and alphas
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
                    lambda: NonPlastic(width, n_units, config.input_gain, larger=True),
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
        """New patterns in every episode: held-out ones differ by their seed."""
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
        asked = torch.randint(0, config.n_patterns, (n_episodes,), generator=generator,
                              device=device)  # fmt: skip
        target = patterns[rows, asked]
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

    def rate(self, net: nn.Module, n_updates: int) -> float:
        own = self.config.control_learning_rate if net.larger else 0.0
        return own or self.config.learning_rate

    def enough(self, net: nn.Module, update: int) -> bool:
        """Whether the target is reached, in episodes of other seeds than all else."""
        target = self.config.target_error
        if not target or update % CHECKED_EVERY:
            return False
        random = make_generator(LAST_SEED - self.config.seed, self.config.device)
        with torch.no_grad():
            errors = self.measure(net, self.sample(CHECKED, random, held_out=True))
        return errors.mean().item() <= target

    def pictures(self, net: nn.Module, folder: Path) -> list[Path]:
        from plasticrl.tasks.patterns.drawing import draw  # late: matplotlib takes a second

        random = make_generator(HELD_OUT_SEED + self.config.seed, self.config.device)
        return draw(net, self.sample(N_DRAWN, random, held_out=True), folder)
