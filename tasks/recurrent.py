"""Tasks for any recurrent core with a linear readout, on episodes of vectors.

    y(t) = W x(t) + b,    where x(t) is the output of the core from the inputs u(1) to u(t)

The config names the core, so that every cell can be compared on these tasks. The control of a run
has no parameters: it is a simple answer that is computed from the inputs.
"""

import copy
from abc import abstractmethod
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from plasticrl.core import build_cell, sequence
from plasticrl.core.cells.configs import CellConfig
from plasticrl.tasks.config import CoreTaskConfig
from plasticrl.tasks.episodes import EpisodicTask
from plasticrl.tasks.task import Net

CoreConfigT = TypeVar("CoreConfigT", bound=CoreTaskConfig)


class VectorEpisodes(NamedTuple):
    """B episodes of T steps."""

    inputs: Tensor
    """(T, B, I)"""
    targets: Tensor
    """(T, B, O)"""
    counts: Tensor
    """True at the steps whose answers are measured, (T,)."""


class CoreWithReadout(nn.Module):
    """A recurrent core, then a linear layer; it maps inputs (T, B, I) to answers (T, B, O)."""

    def __init__(self, core: CellConfig, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.core = build_cell(core, n_inputs)
        self.readout = nn.Linear(self.core.hidden_size, n_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs, _ = sequence(self.core, inputs)
        answers: Tensor = self.readout(outputs)
        return answers


class CoreTask(EpisodicTask[CoreConfigT]):
    """A task whose net is a ``CoreWithReadout`` with the core of the config."""

    n_outputs: ClassVar[int]
    """The width of an answer, O."""

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """The width of an input, I."""

    @abstractmethod
    def baseline(self) -> Net:
        """The control: a module without parameters, from inputs (T, B, I) to answers (T, B, O)."""

    @abstractmethod
    def sample(
        self, n_episodes: int, generator: torch.Generator, held_out: bool
    ) -> VectorEpisodes: ...

    def nets(self) -> list[Net]:
        core = self.config.core
        net = Net(core.name, lambda: CoreWithReadout(core, self.n_inputs, self.n_outputs))
        return [net, self.baseline()]

    def loss(self, net: nn.Module, episodes: VectorEpisodes) -> Tensor:
        """The mean of the metric. By default this is the squared error where answers count."""
        return self.measure(net, episodes).mean()

    def measure(self, net: nn.Module, episodes: VectorEpisodes) -> Tensor:
        """The metric of each episode, (B,). By default this is the mean squared error."""
        errors: Tensor = (net(episodes.inputs) - episodes.targets)[episodes.counts].square()
        return errors.mean(dim=(0, 2))

    @torch.no_grad()
    def ablate(self, net: nn.Module) -> nn.Module | None:
        """Return a copy of a plastic net whose plasticity coefficients are zero, else None."""
        if not (isinstance(net, CoreWithReadout) and net.core.connections):
            return None
        ablated = copy.deepcopy(net)
        for connection in ablated.core.connections:
            connection.alpha.zero_()
        return ablated
