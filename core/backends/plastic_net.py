"""The data that the fused backend exchanges with its kernels: network, sequence, passes."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from plasticrl.core.cells.plastic_rnn import PlasticRNN
from plasticrl.core.connection import PlasticConnection
from plasticrl.core.plasticity import Plasticity
from plasticrl.core.rules import trace_limit

SUPPORTED_RULES = ("hebb", "oja")
SUPPORTED_BOUNDS = ("hard", "soft", "decay", "none")


class PlasticNet(NamedTuple):
    """N neurons with plastic connections among themselves; a missing parameter is None."""

    plasticity: Plasticity
    weight: Tensor
    """(N, N)"""
    alpha: Tensor
    """(N, N), whether there is one for each connection or not."""
    eta: Tensor | None
    """(1,)"""
    modulator_weight: Tensor | None
    """(1, N)"""
    modulator_bias: Tensor | None
    """(1,)"""
    fan_out_weight: Tensor | None
    """(N, 1)"""
    fan_out_bias: Tensor | None
    """(N,)"""

    @classmethod
    def of(cls, connection: PlasticConnection) -> "PlasticNet":
        """The parameters of a connection from a layer to itself."""
        modulator = connection.modulator
        fan_out = None if modulator is None else modulator.fan_out
        return cls(
            plasticity=connection.plasticity,
            weight=connection.weight,
            alpha=connection.alpha.expand_as(connection.weight),
            eta=connection.eta,
            modulator_weight=None if modulator is None else modulator.weight,
            modulator_bias=None if modulator is None else modulator.bias,
            fan_out_weight=None if fan_out is None else fan_out.weight,
            fan_out_bias=None if fan_out is None else fan_out.bias,
        )

    @property
    def retroactive(self) -> bool:
        """Whether there is an eligibility trace."""
        return self.plasticity.modulation == "retroactive"

    @property
    def trace_limit(self) -> float:
        """Largest absolute value that a trace can have."""
        return trace_limit(self.plasticity.bound, self.plasticity.clip)


class Drive(NamedTuple):
    """The input of a plastic net, for T steps of B rows."""

    drive: Tensor
    """(T, B, N); for a clamped neuron its activity."""
    mask: Tensor | None
    """(T, B, N), true where a neuron is clamped; None where none is."""
    starts: Tensor
    """(T, B), true where an episode starts."""

    @classmethod
    def of(cls, cell: PlasticRNN, inputs: Tensor, episode_starts: Tensor | None) -> "Drive":
        """The drive that a cell makes of inputs (T, B, I) and episode starts (T, B)."""
        drive, mask = cell.project(inputs), None
        if cell.input_mode == "clamped":
            drive, clamped = drive.chunk(2, dim=2)
            mask = clamped != 0
        if episode_starts is None:
            episode_starts = torch.zeros(inputs.shape[:2], dtype=torch.bool, device=inputs.device)
        return cls(drive, mask, episode_starts)


class ForwardPass(NamedTuple):
    """The results of a forward pass over T steps, and what the backward pass needs of it."""

    outputs: Tensor
    """(T, B, N)"""
    trace: Tensor
    """(B, N, N), after the last step."""
    eligibility: Tensor | None
    """(B, N, N), after the last step."""
    modulation: Tensor
    """M, (T, B); arbitrary without a modulator."""
    checkpoints: Any
    """Traces and eligibility traces before the steps 0, G, 2 G ..., in the kernels' own layout."""
    spacing: int
    """G; 0 where no trace is kept."""


class Saved(NamedTuple):
    """The part of a sequence and of its forward pass that the backward pass reads."""

    outputs: Tensor
    """(T, B, N)"""
    hidden: Tensor
    """(B, N), before the first step."""
    mask: Tensor | None
    starts: Tensor
    modulation: Tensor
    checkpoints: Any
    spacing: int


class Gradients(NamedTuple):
    """Gradients of the loss with respect to what the kernels read.

    From these the caller computes the gradients of the parameters that take no trace to compute.
    """

    drive: Tensor
    """(T, B, N)"""
    rate: Tensor
    """(T, B, N): eta or the modulation, for every target neuron."""
    modulator_drive: Tensor
    """(T, B): the input of the modulator's output function."""
    hidden: Tensor
    """(B, N), before the first step; as are the traces."""
    trace: Tensor
    eligibility: Tensor | None
    alpha: Tensor
    """(N, N)"""
    eta: Tensor
    """(1,), through the eligibility trace; arbitrary without one."""
