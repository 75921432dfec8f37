"""What the fused backend and its kernels tell each other: a plastic net, a run, its gradients."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plasticrl.core.cells.plastic_rnn import PlasticRNN, PlasticRNNState
from plasticrl.core.connection import PlasticConnection
from plasticrl.core.plasticity import Plasticity

RULES = ("hebb", "oja")

LIMITS = {"hard": None, "soft": 1.0, "decay": math.inf, "none": math.inf}
"""Largest absolute trace by bound; None: the chosen ``clip``."""


class Net(NamedTuple):
    """A plastic connection of N neurons with themselves; None where there is no such parameter."""

    plasticity: Plasticity
    weight: Tensor
    """(N, N)"""
    alpha: Tensor
    """(N, N), whatever its granularity."""
    eta: Tensor | None
    """(1,)"""
    reader: Tensor | None
    """The modulator's weight, (1, N)."""
    reader_bias: Tensor | None
    """(1,)"""
    fan_out: Tensor | None
    """The fan-out's weight, (N, 1)."""
    fan_out_bias: Tensor | None
    """(N,)"""

    @classmethod
    def of(cls, connection: PlasticConnection) -> "Net":
        """The net that a connection makes of its neurons."""
        modulator = connection.modulator
        fan_out = None if modulator is None else modulator.fan_out
        return cls(
            connection.plasticity,
            connection.weight,
            connection.alpha.expand_as(connection.weight),
            connection.eta,
            None if modulator is None else modulator.weight,
            None if modulator is None else modulator.bias,
            None if fan_out is None else fan_out.weight,
            None if fan_out is None else fan_out.bias,
        )

    @property
    def retroactive(self) -> bool:
        """Whether there is an eligibility trace."""
        return self.plasticity.modulation == "retroactive"

    @property
    def clip(self) -> float:
        """Largest absolute trace."""
        limit = LIMITS[self.plasticity.bound]
        return self.plasticity.clip if limit is None else limit


class Given(NamedTuple):
    """What a run starts from: T steps of B rows."""

    drive: Tensor
    """(T, B, N), or the values of clamped units."""
    mask: Tensor | None
    """(T, B, N), true where a unit is clamped; None without clamped units."""
    starts: Tensor
    """(T, B), true where an episode starts."""
    state: PlasticRNNState

    @classmethod
    def of(
        cls,
        cell: PlasticRNN,
        inputs: Tensor,
        state: PlasticRNNState,
        episode_starts: Tensor | None,
    ) -> "Given":
        """What the cell's connection is given by inputs (T, B, I), starts (T, B) and a state."""
        drive, mask = cell.project(inputs), None
        if cell.input_mode == "clamped":
            drive, given = drive.chunk(2, dim=2)
            mask = given != 0
        if episode_starts is None:
            episode_starts = torch.zeros(inputs.shape[:2], dtype=torch.bool, device=inputs.device)
        return cls(drive, mask, episode_starts, state)


class Ran(NamedTuple):
    """What a run gives."""

    outputs: Tensor
    """(T, B, N)"""
    trace: Tensor
    """(B, N, N) after the last step."""
    eligibility: Tensor | None
    signal: Tensor
    """The modulation M, (T, B); of no meaning without modulation."""
    kept: Any
    """The traces before the steps 0, G, 2 G ... as the kernels that made them read them."""
    every: int
    """G; 0 where no trace is kept."""


class Past(NamedTuple):
    """What the backward pass reads of a run."""

    outputs: Tensor
    hidden: Tensor
    """(B, N) before the first step."""
    mask: Tensor | None
    starts: Tensor
    signal: Tensor
    kept: Any
    every: int
    """G"""


class Gradients(NamedTuple):
    """Of the loss, by what the name says; those that take no trace are the caller's."""

    drive: Tensor
    """(T, B, N)"""
    rate: Tensor
    """(T, B, N): eta, or the modulation, of every target neuron."""
    signal: Tensor
    """(T, B): what the modulator's output function read."""
    hidden: Tensor
    trace: Tensor
    eligibility: Tensor | None
    alpha: Tensor
    """(N, N)"""
    eta: Tensor
    """(1,), of the eligibility trace; of no meaning without one."""
