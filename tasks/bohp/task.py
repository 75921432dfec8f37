"""Completion, one-shot and reversal learning with one plastic layer without recurrence.

    y = tanh( (w + alpha * H) u ),    H <- g H + (1 - g) y u^T

Completion: the input is a pattern of 8 bits, then one of its bits; the target of y is the pattern.
One-shot: two patterns are shown once each with their labels, then repeatedly without; a softmax
layer on the plastic units predicts the label. Reversal: half-way, the patterns are shown again with
their labels swapped. The retention g is fixed, and there are no biases.
Source: BOHP 2016 (arXiv 1609.02228).
"""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from plasticrl.tasks.bohp.config import BohpConfig
from plasticrl.tasks.bohp.nets import (
    N_BITS,
    N_LABELS,
    BohpEpisodes,
    Classifier,
    NonPlastic,
    PlasticLayer,
    plastic_connection,
)
from plasticrl.tasks.episodes import EpisodicTask
from plasticrl.tasks.summary import Measurement, median
from plasticrl.tasks.task import Net

N_STEPS, REVERSAL = 20, 10
"""Steps of an episode of one-shot or reversal learning, and the step of the reversal."""
RMS_SMOOTHING = 0.99
"""Smoothing constant of RMSprop's mean square of the gradient."""
N_DRAWN = 3
"""Held-out episodes that are drawn."""


def _equal_units(n_inputs: int, n_outputs: int, n_parameters: int) -> int:
    """The smallest number of units with which ``NonPlastic`` has at least ``n_parameters``.

    The control is therefore never smaller than the plastic net.
    """
    return next(n for n in count(1) if n * (n_inputs + n + n_outputs) >= n_parameters)


class BoundedRMSprop(torch.optim.RMSprop):
    """RMSprop with steps of at most ``max_step``, each followed by a shrinkage toward zero.

    The shrinkage by ``shrink`` replaces an L1 penalty and is applied after the step, as in the
    authors' code. In the loss, RMSprop would divide the penalty by the size of the gradient, so
    that it would outweigh a small error. The parameters in ``non_negative`` are clipped at zero.
    """

    def __init__(
        self,
        parameters: list[nn.Parameter],
        non_negative: list[Tensor],
        lr: float,
        max_step: float,
        shrink: float,
    ) -> None:
        super().__init__(parameters, lr=lr, alpha=RMS_SMOOTHING)
        self.parameters, self.non_negative = parameters, non_negative
        self.max_step, self.shrink = max_step, shrink

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        before = [parameter.clone() for parameter in self.parameters]
        super().step(closure)
        for parameter, old in zip(self.parameters, before, strict=True):
            moved = old + (parameter - old).clamp(-self.max_step, self.max_step)
            parameter.copy_(F.softshrink(moved, self.shrink))
        for tensor in self.non_negative:
            tensor.clamp_(min=0.0)


class Bohp(EpisodicTask[BohpConfig]):
    """The task that the docstring of this file describes."""

    def __init__(self, config: BohpConfig) -> None:
        super().__init__(config)
        error = "squared error" if config.problem == "completion" else "cross-entropy"
        self.metric = f"median {error} of an episode"

    def nets(self) -> list[Net]:
        config = self.config
        if config.problem == "completion":
            n_inputs, n_outputs, n_parameters = N_BITS, N_BITS, 2 * N_BITS**2
        else:
            n_inputs, n_outputs = N_BITS + N_LABELS, N_LABELS
            n_parameters = config.n_hidden * (2 * n_inputs + n_outputs)
        equal = _equal_units(n_inputs, n_outputs, n_parameters)
        return [
            Net("plastic", self._plastic),
            Net(
                "non-plastic, equal parameters",
                lambda: NonPlastic(n_inputs, equal, n_outputs),
            ),
        ]

    def _plastic(self) -> nn.Module:
        if self.config.problem == "completion":
            return PlasticLayer(N_BITS, N_BITS, self.config.retention)
        return Classifier(self.config.n_hidden, self.config.retention)

    def sample(self, n_episodes: int, generator: Generator, held_out: bool) -> BohpEpisodes:
        """Sample new patterns for every episode. Held-out episodes come from another seed."""
        if self.config.problem == "completion":
            return _completion(n_episodes, generator)
        return _classification(n_episodes, generator, self.config.problem == "reversal")

    def loss(self, net: nn.Module, episodes: BohpEpisodes) -> Tensor:
        return self.measure(net, episodes).mean()

    def measure(self, net: nn.Module, episodes: BohpEpisodes) -> Tensor:
        outputs: Tensor = net(episodes.inputs)
        if self.config.problem == "completion":
            return (outputs[-1] - episodes.target).square().sum(dim=1)
        n_steps, n_episodes, _ = outputs.shape
        errors = F.cross_entropy(outputs.flatten(0, 1), episodes.target.flatten(), reduction="none")
        counted = errors.view(n_steps, n_episodes) * episodes.counts.unsqueeze(1)
        return counted.sum(dim=0) / episodes.counts.sum()

    def summary(self, values: Tensor) -> Measurement:
        """The median over episodes; the paper's curves are medians over runs.

        A few episodes would dominate the mean: the pairs of patterns that differ in only one or two
        bits, one pair in sixteen, have a larger error than all the others together.
        """
        return median(values)

    def optimizer(self, net: nn.Module) -> torch.optim.Optimizer:
        config = self.config
        trained = [p for p in net.parameters() if p.requires_grad]
        non_negative: list[Tensor] = []
        if config.alpha_at_least_zero and not isinstance(net, NonPlastic):
            non_negative = [plastic_connection(net).alpha]
        return BoundedRMSprop(
            trained, non_negative, config.learning_rate, config.max_step, config.l1
        )

    def pictures(self, net: nn.Module, folder: Path) -> list[Path]:
        from plasticrl.tasks.bohp.drawing import draw  # late, since it loads matplotlib

        return draw(net, self.sample(N_DRAWN, self.held_out_generator(), held_out=True), folder)


def _signs(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.randint(0, 2, shape, generator=generator, device=generator.device) * 2.0 - 1.0


def _completion(n_episodes: int, generator: Generator) -> BohpEpisodes:
    pattern = _signs((n_episodes, N_BITS), generator)
    kept = torch.randint(0, N_BITS, (n_episodes,), generator=generator, device=generator.device)
    probe = pattern * F.one_hot(kept, N_BITS)
    counts = torch.tensor([False, True], device=generator.device)
    return BohpEpisodes(torch.stack([pattern, probe]), pattern, counts)


def _classification(n_episodes: int, generator: Generator, reversal: bool) -> BohpEpisodes:
    device = generator.device
    first = _signs((n_episodes, N_BITS), generator)
    # The second pattern always differs from the first in one random bit, in the others by chance.
    second = _signs((n_episodes, N_BITS), generator)
    bit = torch.randint(0, N_BITS, (n_episodes, 1), generator=generator, device=device)
    second.scatter_(1, bit, -first.gather(1, bit))
    patterns = torch.stack([first, second], dim=1)
    label = torch.randint(0, 2, (n_episodes,), generator=generator, device=device)
    offset = torch.randint(0, 2, (N_STEPS, n_episodes), generator=generator, device=device)
    rows, steps = torch.arange(n_episodes, device=device), torch.arange(N_STEPS, device=device)
    parity = (steps % 2).unsqueeze(1)
    which = (parity + offset[2 * (steps // 2)]) % 2  # every two steps show both, in random order
    since_swap = steps % REVERSAL if reversal else steps
    swapped = ((steps != since_swap).long()).unsqueeze(1)
    labels = (which + label + swapped) % 2
    counts = since_swap >= 2  # the first two steps show the labels
    shown = F.one_hot(labels, N_LABELS) * (~counts)[:, None, None]
    return BohpEpisodes(torch.cat([patterns[rows, which], shown], dim=2), labels, counts)
