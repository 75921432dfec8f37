"""Completion, one-shot and reversal learning by one plastic layer without recurrence.

    y = tanh( (w + alpha * H) u ),    H <- g H + (1 - g) y u^T

Completion: a pattern of 8 bits, then one of its bits; y has to be the pattern.
One-shot: two patterns, each once with its label, then both again and again without; a softmax layer
on two hidden units has to tell the label. Reversal: half-way they are shown with their labels
swapped. The retention g is fixed. Source: BOHP 2016 (arXiv 1609.02228), all of it, and
``gradient`` has the derivatives as it derives them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from plasticrl.core import Plasticity
from plasticrl.core.connection import PlasticConnection
from plasticrl.tasks.bohp.config import BohpConfig
from plasticrl.tasks.episodes import EpisodicTask
from plasticrl.tasks.summary import Measurement, median
from plasticrl.tasks.task import Net

N_BITS, N_LABELS = 8, 2
N_STEPS, REVERSAL = 20, 10
INIT_STD = 0.1
RMS_SMOOTHING = 0.99


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

    def __init__(self, n_inputs: int, n_units: int, retention: float, plastic: bool) -> None:
        super().__init__()
        options = Plasticity(bound="decay", eta_init=1 - retention, alpha_init="normal")
        self.connection = PlasticConnection(n_inputs, n_units, options)
        nn.init.normal_(self.connection.weight, std=INIT_STD)
        nn.init.normal_(self.connection.alpha, std=INIT_STD)
        assert self.connection.eta is not None
        self.connection.eta.requires_grad_(False)
        if not plastic:
            nn.init.zeros_(self.connection.alpha.requires_grad_(False))

    def forward(self, inputs: Tensor) -> Tensor:
        trace, eligibility = self.connection.initial_traces(inputs.shape[1])
        outputs = []
        for pre in inputs:
            post = torch.tanh(self.connection(pre, trace))
            trace, eligibility = self.connection.update(trace, eligibility, pre, post, post)
            outputs.append(post)
        return torch.stack(outputs)


class Classifier(nn.Module):
    """Logits (T, B, 2): a plastic layer of two units, then a fixed softmax layer."""

    def __init__(self, retention: float, plastic: bool) -> None:
        super().__init__()
        self.layer = PlasticLayer(N_BITS + N_LABELS, N_LABELS, retention, plastic)
        self.readout = nn.Linear(N_LABELS, N_LABELS, bias=False)
        nn.init.normal_(self.readout.weight, std=INIT_STD)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.layer(inputs))
        return logits


class BoundedRMSprop(torch.optim.RMSprop):
    """RMSprop that moves no parameter by more than ``max_step``, then shrinks each by ``shrink``.

    The shrinkage is that of an L1 penalty, but not divided by the gradient's size as a penalty in
    the loss would be: there it would win over the error as soon as that is small. ``floored``
    parameters are kept from falling below zero.
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
        def build(plastic: bool) -> nn.Module:
            if self.config.problem == "completion":
                return PlasticLayer(N_BITS, N_BITS, self.config.retention, plastic)
            return Classifier(self.config.retention, plastic)

        return [Net("plastic", lambda: build(True)), Net("non-plastic", lambda: build(False))]

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
        return errors.view(n_steps, n_episodes)[episodes.counts].mean(dim=0)

    def summary(self, values: Tensor) -> Measurement:
        """The median over episodes; the paper's curves are medians over runs.

        The mean tells of a few episodes only: two patterns that differ in one or two of their bits,
        as one pair in sixteen, cost more than all the others together.
        """
        return median(values)

    def optimizer(self, net: nn.Module) -> torch.optim.Optimizer:
        trained = [p for p in net.parameters() if p.requires_grad]
        layer: Any = getattr(net, "layer", net)
        floored = [layer.connection.alpha] if self.config.alpha_at_least_zero else []
        config = self.config
        shrink = config.learning_rate * config.l1
        return BoundedRMSprop(trained, floored, config.learning_rate, config.max_step, shrink)


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
    rows = torch.arange(n_episodes, device=device)
    shows = (0, 1) if not reversal else (0, 1, REVERSAL, REVERSAL + 1)
    inputs, labels = [], []
    for t in range(N_STEPS):
        labelled = t in shows
        block = 2 * (t // 2)  # both patterns in every two steps, in a random order
        which = (t + offset[block]) % 2
        swapped = reversal and t >= REVERSAL
        answer = (which + label + int(swapped)) % 2
        shown = F.one_hot(answer, N_LABELS).float() * float(labelled)
        inputs.append(torch.cat([patterns[rows, which], shown], dim=1))
        labels.append(answer)
    counts = torch.tensor([t not in shows for t in range(N_STEPS)], device=device)
    return BohpEpisodes(torch.stack(inputs), torch.stack(labels), counts)
