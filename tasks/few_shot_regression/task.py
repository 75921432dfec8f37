"""Learning a function from a few of its points within an episode.

An episode has a random function f of n inputs, which is linear or a net with two tanh units,

    f(x) = c x + d    or    f(x) = c tanh(A x + a) + d

with all coefficients from U(+-1/sqrt(I)), where I is the number of inputs of their layer. The first
K steps show points x from U(-1, 1)^n with their values plus noise; the further steps show points
without values. The values of an episode are scaled to the mean 0 and the variance 1. An input is x,
the value or 0, and a flag that is 1 if the value is shown.

    loss = mean over all steps of (y - f(x))^2

The metric is the error at the points without values. Answering 0 has the error 1. Source: Duan, Jia
& Ito 2023 (arXiv 2302.03235) and their published code.
"""

import math
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from plasticrl.tasks.few_shot_regression.config import FewShotRegressionConfig
from plasticrl.tasks.recurrent import CoreTask, VectorEpisodes
from plasticrl.tasks.task import Net

N_TANH_UNITS = 2
N_DRAWN = 3
"""Held-out episodes that are drawn."""


class RidgeRegression(nn.Module):
    """Linear regression with a penalty, on the points with values.

        w = (X^T X + L)^-1 X^T v

    Each row of X is a point (x, 1), and v has the values. The diagonal matrix L has the variance of
    the noise divided by the variance that a coefficient has over the functions: 3/n for those of x,
    since an entry of x has the variance 1/3 and a value 1, and 1/T for the constant, since the mean
    over the T steps is 0.
    """

    def __init__(self, noise: float) -> None:
        super().__init__()
        self.noise = noise

    def forward(self, inputs: Tensor) -> Tensor:
        n_steps, _, width = inputs.shape
        n_dimensions = width - 2
        penalties = torch.full((n_dimensions + 1,), n_dimensions / 3, device=inputs.device)
        penalties[-1] = n_steps
        points, values, flag = inputs.transpose(0, 1).tensor_split([width - 2, width - 1], dim=2)
        points = torch.cat([points, torch.ones_like(flag)], dim=2)
        known = (points * flag).mT
        matrix = known @ points + self.noise**2 * penalties.diag()
        weights: Tensor = torch.linalg.solve(matrix, known @ values)
        return (points @ weights).transpose(0, 1)


class FewShotRegression(CoreTask[FewShotRegressionConfig]):
    """The task that the docstring of this file describes."""

    metric = "mean squared error of the queries"
    n_outputs = 1

    @property
    def n_inputs(self) -> int:
        return self.config.n_dimensions + 2

    def baseline(self) -> Net:
        return Net("ridge regression", lambda: RidgeRegression(self.config.noise))

    def sample(self, n_episodes: int, generator: Generator, held_out: bool) -> VectorEpisodes:
        """Sample a new function for every episode. Held-out episodes come from another seed."""
        config, device = self.config, generator.device

        def uniform(limit: float, *shape: int) -> Tensor:
            numbers = torch.rand(n_episodes, *shape, generator=generator, device=device)
            return limit * (2 * numbers - 1)

        def layer(inputs: Tensor, n_units: int) -> Tensor:
            limit = 1 / math.sqrt(inputs.shape[2])
            weights = uniform(limit, inputs.shape[2], n_units)
            return inputs @ weights + uniform(limit, 1, n_units)

        n_steps = config.n_points + config.n_queries
        points = uniform(1.0, n_steps, config.n_dimensions)
        units = torch.tanh(layer(points, N_TANH_UNITS)) if config.function == "tanh" else points
        values = layer(units, 1)
        values = (values - values.mean(dim=1, keepdim=True)) / values.std(
            dim=1, correction=0, keepdim=True
        )
        flag = torch.zeros_like(values)
        flag[:, : config.n_points] = 1
        noise = torch.randn(values.shape, generator=generator, device=device)
        shown = flag * (values + config.noise * noise)
        inputs = torch.cat([points, shown, flag], dim=2).transpose(0, 1)
        return VectorEpisodes(inputs, values.transpose(0, 1), flag[0, :, 0] == 0)

    def loss(self, net: nn.Module, episodes: VectorEpisodes) -> Tensor:
        errors: Tensor = net(episodes.inputs) - episodes.targets
        return errors.square().mean()

    def pictures(self, net: nn.Module, folder: Path) -> list[Path]:
        # late, since it loads matplotlib
        from plasticrl.tasks.few_shot_regression.drawing import draw

        episodes = self.sample(N_DRAWN, self.held_out_generator(), held_out=True)
        return draw(net, self.baseline().build(), episodes, folder)
