"""Repeating a series of numbers after a delay.

An episode shows L numbers from U(-1, 1), one at each step, then D steps without input, then a
signal for L steps, at which the net has to answer the numbers in the same order. An input is the
number or 0, a flag that is 1 while numbers are shown, and a flag that is 1 while the net answers.

    loss = mean over the last L steps of (y - number)^2

Without memory, the best answer is 0, whose error is the variance of the numbers, 1/3. Source: Duan,
Jia & Ito 2023 (arXiv 2302.03235) and their published code.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from plasticrl.tasks.copy_delay.config import CopyDelayConfig
from plasticrl.tasks.recurrent import CoreTask, VectorEpisodes
from plasticrl.tasks.task import Net

N_DRAWN = 3
"""Held-out episodes that are drawn."""


class AlwaysZero(nn.Module):
    """Answers 0, the mean of the numbers, at every step: the best answer without memory."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.zeros_like(inputs[..., :1])


class CopyDelay(CoreTask[CopyDelayConfig]):
    """The task that the docstring of this file describes."""

    metric = "mean squared error"
    n_outputs = 1

    @property
    def n_inputs(self) -> int:
        return 3

    def baseline(self) -> Net:
        return Net("always 0", AlwaysZero)

    def sample(self, n_episodes: int, generator: Generator, held_out: bool) -> VectorEpisodes:
        """Sample new numbers for every episode. Held-out episodes come from another seed."""
        n_values, device = self.config.n_values, generator.device
        before = n_values + self.config.n_blanks
        shape = (n_values, n_episodes, 1)
        values = torch.rand(shape, generator=generator, device=device) * 2 - 1
        shown = F.pad(values, (0, 0, 0, 0, 0, before))
        targets = F.pad(values, (0, 0, 0, 0, before, 0))
        steps = torch.arange(before + n_values, device=device)
        flags = torch.stack([steps < n_values, steps >= before], dim=1)
        inputs = torch.cat([shown, flags.float().unsqueeze(1).expand(-1, n_episodes, -1)], dim=2)
        return VectorEpisodes(inputs, targets, flags[:, 1])

    def pictures(self, net: nn.Module, folder: Path) -> list[Path]:
        from plasticrl.tasks.copy_delay.drawing import draw  # late, since it loads matplotlib

        return draw(net, self.sample(N_DRAWN, self.held_out_generator(), held_out=True), folder)
