"""Completion, one-shot and reversal learning by one plastic layer without recurrence.

    y = tanh( (w + alpha * H) u ),    H <- g H + (1 - g) y u^T

Completion: a pattern of 8 bits, then one of its bits; y has to be the pattern.
One-shot: two patterns, each once with its label, then both again and again without; a softmax layer
on the plastic units has to tell the label. Reversal: half-way they are shown with their labels
swapped. The retention g is fixed. Source: BOHP 2016 (arXiv 1609.02228), all of it, and
``gradient`` has the derivatives as it derives them; there are no biases.
"""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from plasticrl.core import Plasticity
from plasticrl.core.connection import PlasticConnection
from plasticrl.tasks.bohp.config import BohpConfig
from plasticrl.tasks.episodes import HELD_OUT_SEED, EpisodicTask, make_generator
from plasticrl.tasks.summary import Measurement, median
from plasticrl.tasks.task import Net

N_BITS, N_LABELS = 8, 2
N_STEPS, REVERSAL = 20, 10
INIT_STD = 0.1
RMS_SMOOTHING = 0.99
N_DRAWN = 3
"""Held-out episodes in the picture."""


class BohpEpisodes(NamedTuple):
    """T steps of B episodes."""

    inputs: Tensor
    """(T, B, I)"""
    target: Tensor
    """(B, 8) the pattern, or (T, B) labels."""
    counts: Tensor
    """(T,), true at the steps whose answer counts."""


class PlasticLayer(nn.Module):
    """y (T, B, O) from u (T, B, I): tanh units with plastic weights whose trace decays."""

    def __init__(self, n_inputs: int, n_units: int, retention: float) -> None:
        super().__init__()
        options = Plasticity(
            bound="decay", eta_init=1 - retention, alpha_init="normal", alpha_scale=INIT_STD
        )
        self.connection = PlasticConnection(n_inputs, n_units, options)
        nn.init.normal_(self.connection.weight, std=INIT_STD)
        assert self.connection.eta is not None
        self.connection.eta.requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        trace, eligibility = self.connection.initial_traces(inputs.shape[1])
        outputs = []
        for pre in inputs:
            post = torch.tanh(self.connection(pre, trace))
            trace, eligibility = self.connection.update(trace, eligibility, pre, post, post)
            outputs.append(post)
        return torch.stack(outputs)


class Classifier(nn.Module):
    """Logits (T, B, 2): a plastic layer, then a fixed softmax layer."""

    def __init__(self, n_hidden: int, retention: float) -> None:
        super().__init__()
        self.layer = PlasticLayer(N_BITS + N_LABELS, n_hidden, retention)
        self.readout = nn.Linear(n_hidden, N_LABELS, bias=False)
        nn.init.normal_(self.readout.weight, std=INIT_STD)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.layer(inputs))
        return logits


class NonPlastic(nn.Module):
    """Answers (T, B, O) of a net that can remember by its units' activity alone.

    h(t) = tanh( w u(t) + r h(t-1) ),    answer v h(t)

    It is torch's own RNN because that comes without biases, which the plastic nets do not have
    either; the core's ``rnn`` always has one.
    """

    def __init__(self, n_inputs: int, n_units: int, n_outputs: int) -> None:
        super().__init__()
        self.recurrent = nn.RNN(n_inputs, n_units, bias=False)
        self.readout = nn.Linear(n_units, n_outputs, bias=False)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=INIT_STD)

    def forward(self, inputs: Tensor) -> Tensor:
        answers: Tensor = self.readout(self.recurrent(inputs)[0])
        return answers


def _equal_units(n_inputs: int, n_outputs: int, n_parameters: int) -> int:
    """The fewest units with which ``NonPlastic`` has at least so many parameters.

    So the control is never the smaller net, and a little larger where no number of units fits.
    """
    return next(n for n in count(1) if n * (n_inputs + n + n_outputs) >= n_parameters)


class BoundedRMSprop(torch.optim.RMSprop):
    """RMSprop that moves no parameter by more than ``max_step``, then shrinks each by ``shrink``.

    The shrinkage is an L1 penalty's, but beside the step, as in the authors' code: in the loss it
    would be divided by the gradient's size, and win over the error as soon as that is small.
    ``floored`` parameters are kept from falling below zero.
    """

    def __init__(
        self,
        parameters: list[nn.Parameter],
        floored: list[Tensor],
        lr: float,
        max_step: float,
        shrink: float,
    ) -> None:
        super().__init__(parameters, lr=lr, alpha=RMS_SMOOTHING)
        self.parameters, self.floored = parameters, floored
        self.max_step, self.shrink = max_step, shrink

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        before = [parameter.clone() for parameter in self.parameters]
        super().step(closure)
        for parameter, old in zip(self.parameters, before, strict=True):
            moved = old + (parameter - old).clamp(-self.max_step, self.max_step)
            parameter.copy_(F.softshrink(moved, self.shrink))
        for floored in self.floored:
            floored.clamp_(min=0.0)


class Bohp(EpisodicTask[BohpConfig]):
    """The task; see the module."""

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
        """New patterns in every episode: held-out ones differ by their seed."""
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

        The mean tells of a few episodes only: two patterns that differ in one or two of their bits,
        as one pair in sixteen, cost more than all the others together.
        """
        return median(values)

    def optimizer(self, net: nn.Module) -> torch.optim.Optimizer:
        config = self.config
        trained = [p for p in net.parameters() if p.requires_grad]
        floored: list[Tensor] = []
        if config.alpha_at_least_zero and not isinstance(net, NonPlastic):
            floored = [plastic_connection(net).alpha]
        return BoundedRMSprop(trained, floored, config.learning_rate, config.max_step, config.l1)

    def pictures(self, net: nn.Module, folder: Path) -> list[Path]:
        from plasticrl.tasks.bohp.drawing import draw  # late: matplotlib takes a second

        random = make_generator(HELD_OUT_SEED + self.config.seed, self.config.device)
        return draw(net, self.sample(N_DRAWN, random, held_out=True), folder)


def plastic_connection(net: nn.Module) -> PlasticConnection:
    """Of the plastic net of any of the problems."""
    layer = net.layer if isinstance(net, Classifier) else net
    assert isinstance(layer, PlasticLayer)
    return layer.connection


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
    # The second differs from the first: in a random bit for certain, in the others by chance.
    second = _signs((n_episodes, N_BITS), generator)
    bit = torch.randint(0, N_BITS, (n_episodes, 1), generator=generator, device=device)
    second.scatter_(1, bit, -first.gather(1, bit))
    patterns = torch.stack([first, second], dim=1)
    label = torch.randint(0, 2, (n_episodes,), generator=generator, device=device)
    offset = torch.randint(0, 2, (N_STEPS, n_episodes), generator=generator, device=device)
    rows, steps = torch.arange(n_episodes, device=device), torch.arange(N_STEPS, device=device)
    parity = (steps % 2).unsqueeze(1)
    which = (parity + offset[2 * (steps // 2)]) % 2  # both in every two steps, in a random order
    since = steps % REVERSAL if reversal else steps
    swapped = ((steps != since).long()).unsqueeze(1)
    labels = (which + label + swapped) % 2
    counts = since >= 2  # the others show the label
    shown = F.one_hot(labels, N_LABELS) * (~counts)[:, None, None]
    return BohpEpisodes(torch.cat([patterns[rows, which], shown], dim=2), labels, counts)
