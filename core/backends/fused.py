"""The fused backend: a whole sequence as one differentiable function.

The forward pass stores the activity and every G-th trace (see ``checkpoint_spacing``). The backward
pass recomputes the traces in between, a few rows at a time, and runs the step's recursions in
reverse; they are derived by hand as in BOHP 2016 (arXiv 1609.02228). Memory is about
B sqrt(T / 2) N^2 numbers instead of several times B T N^2.

The loops over the trace run in numba on the CPU (``cpu``) and in Triton on the GPU (``cuda``). The
gradients that need no trace are a few products over the whole sequence, computed here.
"""

import math
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from plasticrl.core.backends.cpu import NumbaKernels
from plasticrl.core.backends.plastic_net import (
    SUPPORTED_BOUNDS,
    SUPPORTED_RULES,
    Drive,
    ForwardPass,
    Gradients,
    PlasticNet,
    Saved,
)
from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.plastic_rnn import PlasticRNN, PlasticRNNState
from plasticrl.core.state import leaves
from plasticrl.core.stock import is_stock_cell


class KernelStepper(Protocol):
    """Takes steps and changes a state in place; see ``BackendStepper``."""

    def __call__(self, inputs: Tensor, episode_starts: Tensor | None) -> Tensor: ...

    def take_recorded(self) -> ForwardPass | None:
        """The recorded steps as a forward pass, given away once; None if there is no record."""


class Kernels(Protocol):
    """The loops over steps and rows, for tensors on one type of device."""

    def rows_at_once(self, n_steps: int, n_rows: int, n: int, device: torch.device) -> int:
        """The number of rows that the backward pass works on at the same time."""

    def forward(
        self, net: PlasticNet, drive: Drive, state: PlasticRNNState, spacing: int
    ) -> ForwardPass:
        """The forward pass; keeps every ``spacing``-th trace, or none where that is 0."""

    def backward(
        self, net: PlasticNet, saved: Saved, g_outputs: Tensor, g_state: PlasticRNNState
    ) -> Gradients:
        """Gradients from those of the outputs and of the final state."""

    def stepper(
        self, cell: PlasticRNN, state: PlasticRNNState, n_steps: int, spacing: int
    ) -> KernelStepper:
        """Steps from a contiguous state; the first ``n_steps`` are recorded where possible."""


@dataclass
class FusedBackend:
    """Runs a ``PlasticRNN``.

    Args:
        kernels: None takes those for the device.
    """

    kernels: Kernels | None = None

    def supports(self, cell: Cell[Any], inputs: Tensor) -> bool:
        """Whether the loops were written for this cell; a subclass may step in its own way."""
        if not isinstance(cell, PlasticRNN) or not is_stock_cell(cell):
            return False
        plasticity = cell.connection.plasticity
        if plasticity.rule not in SUPPORTED_RULES or plasticity.bound not in SUPPORTED_BOUNDS:
            return False
        kinds = {(tensor.device, tensor.dtype) for tensor in (inputs, *cell.parameters())}
        floats = inputs.dtype in (torch.float32, torch.float64)
        return len(kinds) == 1 and floats and _has_kernels(inputs.device.type)

    def run(
        self,
        cell: Cell[PlasticRNNState],
        inputs: Tensor,
        state: PlasticRNNState,
        episode_starts: Tensor | None,
    ) -> tuple[Tensor, PlasticRNNState]:
        return self.apply(cast(PlasticRNN, cell), inputs, state, episode_starts)

    def apply(
        self,
        cell: PlasticRNN,
        inputs: Tensor,
        state: PlasticRNNState,
        episode_starts: Tensor | None,
        forward_pass: ForwardPass | None = None,
    ) -> tuple[Tensor, PlasticRNNState]:
        """As ``run``; the forward pass is not computed where it is given."""
        kernels = self.kernels or kernels_for(inputs.device.type)
        drive = Drive.of(cell, inputs, episode_starts)
        outputs, hidden, *traces = _Sequence.apply(  # type: ignore[no-untyped-call]
            *(kernels, torch.is_grad_enabled(), forward_pass),
            *(*drive, *state, *PlasticNet.of(cell.connection)),
        )
        return outputs, PlasticRNNState(hidden, *traces)

    def stepper(
        self, cell: Cell[PlasticRNNState], state: PlasticRNNState, n_steps: int
    ) -> "FusedStepper":
        """Raises ``ValueError`` for a state that is not contiguous."""
        if not all(leaf.is_contiguous() for leaf in leaves(state)):
            raise ValueError("a state that is not contiguous cannot be changed in place")
        return FusedStepper(self, cast(PlasticRNN, cell), state, n_steps)


FUSED = FusedBackend()


class FusedStepper:
    """The kernels' stepper, whose record is replayed as a forward pass."""

    def __init__(
        self, backend: FusedBackend, cell: PlasticRNN, state: PlasticRNNState, n_steps: int
    ) -> None:
        self._backend, self._cell = backend, cell
        device, (n_rows, n) = state.hidden.device, state.hidden.shape
        kernels = backend.kernels or kernels_for(device.type)
        at_once = kernels.rows_at_once(n_steps, n_rows, n, device)
        spacing = checkpoint_spacing(n_steps, n_rows, at_once)
        self._steps = kernels.stepper(cell, state, n_steps, spacing)

    def __call__(self, inputs: Tensor, episode_starts: Tensor | None) -> Tensor:
        return self._steps(inputs, episode_starts)

    def replay(
        self, inputs: Tensor, episode_starts: Tensor, start: PlasticRNNState
    ) -> tuple[Tensor, PlasticRNNState] | None:
        forward_pass = self._steps.take_recorded()
        if forward_pass is None:
            return None
        return self._backend.apply(self._cell, inputs, start, episode_starts, forward_pass)


@cache
def kernels_for(device_type: str) -> Kernels:
    """The loops for tensors on such a device."""
    if device_type == "cpu":
        return NumbaKernels()
    from plasticrl.core.backends.cuda import TritonKernels  # Triton is there with a GPU only

    return TritonKernels()


def checkpoint_spacing(n_steps: int, n_rows: int, at_once: int) -> int:
    """Steps G from one stored trace to the next.

    B T / G traces are stored, and G are recomputed for each of the P rows worked on at once; the
    sum is least at G = sqrt(T B / P). More than sqrt(2 T) recomputed traces of a small net do not
    fit the processor's cache.
    """
    return max(1, min(n_steps, round(math.sqrt(n_steps * min(2.0, n_rows / max(1, at_once))))))


@cache
def _has_kernels(device_type: str) -> bool:
    return device_type == "cpu" or (device_type == "cuda" and find_spec("triton") is not None)


class _Sequence(torch.autograd.Function):
    """outputs, hidden, trace, eligibility = f(drive, state, parameters)."""

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx,
        kernels,
        learns,
        forward_pass,
        drive,
        mask,
        starts,
        hidden,
        trace,
        eligibility,
        *net,
    ):
        if forward_pass is None:
            at_once = kernels.rows_at_once(*drive.shape, drive.device)
            n_steps, n_rows, _ = drive.shape
            spacing = checkpoint_spacing(n_steps, n_rows, at_once) if learns else 0
            state = PlasticRNNState(hidden, trace, eligibility)
            sequence = Drive(drive, mask, starts)
            forward_pass = kernels.forward(PlasticNet(*net), sequence, state, spacing)
        outputs = forward_pass.outputs
        if learns:
            plasticity, *parameters = net
            ctx.save_for_backward(outputs, hidden, mask, starts, *parameters)
            ctx.kernels, ctx.plasticity = kernels, plasticity
            ctx.forward_pass = forward_pass[3:]
        return outputs, outputs[-1].clone(), forward_pass.trace, forward_pass.eligibility

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g_outputs, *g_state):  # type: ignore[no-untyped-def]
        outputs, hidden, mask, starts, *parameters = ctx.saved_tensors
        net = PlasticNet(ctx.plasticity, *parameters)
        saved = Saved(outputs, hidden, mask, starts, *ctx.forward_pass)
        g = ctx.kernels.backward(net, saved, g_outputs, PlasticRNNState(*g_state))
        modulated, fanned = net.modulator_weight is not None, net.fan_out_weight is not None
        return (
            *(None, None, None),
            *(g.drive if mask is None else g.drive.masked_fill(~mask, 0), None, None),
            *(g.hidden, g.trace, g.eligibility),
            *(None, _weight_gradient(g.drive, saved), g.alpha),
            None if net.eta is None else (g.eta if net.retroactive else g.rate.sum().view(1)),
            *(_modulator_gradients(g.modulator_drive, outputs) if modulated else (None, None)),
            *(_fan_out_gradients(g.rate, saved.modulation) if fanned else (None, None)),
        )


def _weight_gradient(g_drive: Tensor, saved: Saved) -> Tensor:
    """Of the weights (N, N), which do not reach a clamped neuron."""
    outputs, starts = saved.outputs, saved.starts
    g_drive = g_drive if saved.mask is None else g_drive.masked_fill(saved.mask, 0)
    # The activity before each step is set to zero by selection: 0 times infinity is NaN.
    before = outputs[:-1].masked_fill(starts[1:].unsqueeze(2), 0)
    gradient = g_drive[0].T @ saved.hidden.masked_fill(starts[0].unsqueeze(1), 0)
    gradient += g_drive[1:].flatten(0, 1).T @ before.flatten(0, 1)
    return gradient


def _modulator_gradients(g_modulator_drive: Tensor, activity: Tensor) -> tuple[Tensor, Tensor]:
    """Of the modulator's weight (1, N) and bias (1,), from its drive (T, B) and input (T, B, N)."""
    weight = g_modulator_drive.reshape(1, -1) @ activity.flatten(0, 1)
    return weight, g_modulator_drive.sum().view(1)


def _fan_out_gradients(g_rate: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
    """Of weight (N, 1) and bias (N,), from the rates (T, B, N) and the modulation (T, B)."""
    g_rate = g_rate.flatten(0, 1)
    return g_rate.T @ modulation.view(-1, 1), g_rate.sum(dim=0)
