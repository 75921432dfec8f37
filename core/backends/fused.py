"""The fused backend: a whole sequence as one differentiable function.

What is stored is the activity and every G-th trace (see ``spacing``); the backward pass recomputes
the traces in between, a few rows at a time, and runs the step's recursions in reverse, derived by
hand as in BOHP 2016 (arXiv 1609.02228). Memory is some B sqrt(T / 2) N^2 numbers instead of
several times B T N^2.

The loops over the trace are numba's on the CPU (``cpu``) and Triton's on the GPU (``cuda``); the
gradients that need no trace are a few products of whole sequences, here.
"""

import math
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from plasticrl.core.backends.cpu import NumbaKernels
from plasticrl.core.backends.memory import Memory
from plasticrl.core.backends.net import LIMITS, RULES, Given, Gradients, Net, Past, Ran
from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.plastic_rnn import PlasticRNN, PlasticRNNState
from plasticrl.core.connection import PlasticConnection
from plasticrl.core.state import leaves


class Kernels(Protocol):
    """The loops over steps and rows, for the tensors of some device."""

    remembers: ClassVar[bool]
    """Whether ``stepper`` fills a memory."""

    def rows_at_once(self, n_steps: int, n_rows: int, n: int, device: torch.device) -> int:
        """How many rows the backward pass works on side by side."""

    def forward(self, net: Net, given: Given, every: int) -> Ran:
        """Run; keep the traces of every so manieth step, or none where ``every`` is 0."""

    def backward(
        self, net: Net, past: Past, g_outputs: Tensor, g_state: PlasticRNNState
    ) -> Gradients:
        """From the gradients of the outputs and of the final state."""

    def stepper(
        self, cell: PlasticRNN, state: PlasticRNNState, memory: Memory | None
    ) -> Callable[[Tensor, Tensor | None], Tensor]:
        """As ``plasticrl.core.stepper``, for a contiguous state."""


def supports(cell: Cell[Any], inputs: Tensor) -> bool:
    """Whether ``run`` can run the cell on these inputs: exactly what its loops are written for."""
    if type(cell) is not PlasticRNN or type(cell.connection) is not PlasticConnection:
        return False
    plasticity = cell.connection.plasticity
    if plasticity.rule not in RULES or plasticity.bound not in LIMITS:
        return False
    weight = cell.connection.weight
    alike = inputs.device == weight.device and inputs.dtype == weight.dtype
    floats = weight.dtype in (torch.float32, torch.float64)
    return alike and floats and _has_kernels(weight.device.type)


def run(
    cell: Cell[Any],
    inputs: Tensor,
    state: Any,
    episode_starts: Tensor | None,
    kernels: Kernels | None = None,
    memory: Memory | None = None,
) -> tuple[Tensor, Any]:
    """Outputs (T, B, N) and final state; arguments as ``plasticrl.core.sequence``, checked.

    By default with the kernels for the device.
    """
    assert isinstance(cell, PlasticRNN)
    given = Given.of(cell, inputs, state, episode_starts)
    ran = None if memory is None else memory.ran(cell, inputs, state, given.starts)
    outputs, hidden, *traces = _Sequence.apply(  # type: ignore[no-untyped-call]
        *(kernels or kernels_for(inputs.device.type), torch.is_grad_enabled(), ran),
        *(given.starts, given.mask, given.drive, *given.state, *Net.of(cell.connection)),
    )
    return outputs, PlasticRNNState(hidden, *traces)


def stepper(
    cell: Cell[Any], state: Any, kernels: Kernels | None = None, memory: Memory | None = None
) -> Callable[[Tensor, Tensor | None], Tensor]:
    """A function that advances ``state``; as ``plasticrl.core.stepper``, checked.

    Raises:
        ValueError: for a state that is not contiguous.
    """
    assert isinstance(cell, PlasticRNN)
    if not all(leaf.is_contiguous() for leaf in leaves(state)):
        raise ValueError("a state that is not contiguous cannot be changed in place")
    return (kernels or kernels_for(state.hidden.device.type)).stepper(cell, state, memory)


def memory(cell: Cell[Any], state: Any, n_steps: int) -> Memory | None:
    """For ``stepper``, and ``run`` after it; None where the steps cannot be remembered."""
    assert isinstance(cell, PlasticRNN)
    n_rows, n = state.hidden.shape
    kernels = kernels_for(state.hidden.device.type)
    if not kernels.remembers or state.hidden.is_inference():  # whose changes are not counted
        return None
    at_once = kernels.rows_at_once(n_steps, n_rows, n, state.hidden.device)
    return Memory(cell, state, n_steps, spacing(n_steps, n_rows, at_once))


@cache
def kernels_for(device_type: str) -> Kernels:
    """The loops for tensors on such a device."""
    if device_type == "cpu":
        return NumbaKernels()
    from plasticrl.core.backends.cuda import TritonKernels  # Triton is there with a GPU only

    return TritonKernels()


def spacing(n_steps: int, n_rows: int, at_once: int) -> int:
    """Steps G from one stored trace to the next.

    B T / G traces are stored, and G recomputed for each of the P rows worked on at once: together
    least at G = sqrt(T B / P). More than sqrt(2 T) recomputed traces of a small net leave the
    processor's cache.
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
        ran,
        starts,
        mask,
        drive,
        hidden,
        trace,
        eligibility,
        plasticity,
        *parameters,
    ):
        if ran is None:
            n_steps, n_rows, _ = drive.shape
            at_once = kernels.rows_at_once(*drive.shape, drive.device)
            every = spacing(n_steps, n_rows, at_once) if learns else 0
            given = Given(drive, mask, starts, PlasticRNNState(hidden, trace, eligibility))
            ran = kernels.forward(Net(plasticity, *parameters), given, every)
        if learns:
            ctx.save_for_backward(ran.outputs, hidden, mask, starts, *parameters)
            ctx.kernels, ctx.plasticity = kernels, plasticity
            ctx.inside = (ran.signal, ran.kept, ran.every)
        return ran.outputs, ran.outputs[-1].clone(), ran.trace, ran.eligibility

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g_outputs, *g_state):  # type: ignore[no-untyped-def]
        outputs, hidden, mask, starts, *parameters = ctx.saved_tensors
        net = Net(ctx.plasticity, *parameters)
        past = Past(outputs, hidden, mask, starts, *ctx.inside)
        g = ctx.kernels.backward(net, past, g_outputs, PlasticRNNState(*g_state))
        through_weights = g.drive if mask is None else g.drive.masked_fill(mask, 0)
        # What came before is selected: 0 times infinity is NaN.
        before = outputs[:-1].masked_fill(starts[1:].unsqueeze(2), 0)
        g_weight = through_weights[0].T @ hidden.masked_fill(starts[0].unsqueeze(1), 0)
        g_weight += through_weights[1:].flatten(0, 1).T @ before.flatten(0, 1)
        g_eta = g.eta if net.retroactive else g.rate.sum().view(1)
        modulated, fanned = net.reader is not None, net.fan_out is not None
        return (
            *(None, None, None, None, None),
            g.drive if mask is None else g.drive.masked_fill(~mask, 0),
            *(g.hidden, g.trace, g.eligibility),
            *(None, g_weight, g.alpha, None if net.eta is None else g_eta),
            *(_modulator_gradients(g.signal, outputs) if modulated else (None, None)),
            *(_fan_out_gradients(g.rate, past.signal) if fanned else (None, None)),
        )


def _modulator_gradients(g_signal: Tensor, activity: Tensor) -> tuple[Tensor, Tensor]:
    """Of weight (1, N) and bias (1,), from what the modulator gave (T, B) and read (T, B, N)."""
    return g_signal.reshape(1, -1) @ activity.flatten(0, 1), g_signal.sum().view(1)


def _fan_out_gradients(g_rate: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
    """Of weight (N, 1) and bias (N,), from the rates (T, B, N) and the modulation (T, B)."""
    g_rate = g_rate.flatten(0, 1)
    return g_rate.T @ signal.view(-1, 1), g_rate.sum(dim=0)
