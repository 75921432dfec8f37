"""The fused backend, which runs a plastic net over a whole sequence as one autograd function.

It uses gradient checkpointing. The T steps of B batch rows and N neurons are divided into segments
of G steps. The forward pass stores a row's activity (N,) after every step, but its trace (N, N)
only before each segment, as a checkpoint. The backward pass takes the segments in reverse. For P
rows at a time, it computes the traces of a segment again, and then propagates gradients through the
steps of the segment by equations derived by hand. (BOHP 2016, arXiv 1609.02228, derived the same
gradients as a recursion forward in time.) It stores B T / G checkpoints and P G recomputed traces,
whereas autograd would store several traces for each of the B T steps. An eligibility trace doubles
these numbers.

Compiled kernels loop over the traces, in numba on the CPU (``cpu``) and in Triton on the GPU
(``cuda``). The gradients that need no trace are matrix products, computed in this file.
"""

import math
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor

from plasticrl.core.backends.cpu import NumbaKernels, NumbaStepper
from plasticrl.core.backends.plastic_net import (
    ForwardPass,
    Gradients,
    NetInputs,
    NetState,
    PlasticCell,
    PlasticNet,
    PlasticState,
    SavedForBackward,
    are_supported,
    module_of,
)
from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.plastic_lstm import PlasticLSTMState
from plasticrl.core.cells.plastic_rnn import PlasticRNNState
from plasticrl.core.population import Population
from plasticrl.core.state import leaves, map_leaves
from plasticrl.core.stock import is_stock_cell, is_untouched


class KernelStepper(Protocol):
    """Takes steps with the kernels; each step changes the stepper's state in place."""

    def __call__(self, inputs: Tensor, episode_starts: Tensor | None) -> Tensor: ...

    def take_recorded(self) -> ForwardPass | None:
        """Return the record of the steps and forget it; None if there is no record."""


class Kernels(Protocol):
    """The compiled loops over steps, rows and connections, for tensors on one type of device."""

    @property
    def cells(self) -> tuple[type[Any], ...]:
        """The classes of cells that the loops can run."""

    def rows_at_once(self, n_steps: int, n_rows: int, n: int, device: torch.device) -> int:
        """Return P, the number of rows that the backward pass processes at the same time."""

    def forward(
        self, net: PlasticNet, inputs: NetInputs, state: NetState, segment_length: int
    ) -> ForwardPass:
        """Run the forward pass; a ``segment_length`` of 0 stores no checkpoints."""

    def backward(
        self, net: PlasticNet, saved: SavedForBackward, g_outputs: Tensor, g_state: NetState
    ) -> Gradients:
        """Return gradients, given those of the outputs (T, B, N) and of the final state."""

    def stepper(
        self,
        cell: PlasticCell,
        state: NetState,
        n_steps: int,
        segment_length: int,
    ) -> KernelStepper:
        """Make a stepper that changes ``state``, which must be contiguous, in place.

        If the kernels can record steps, the stepper records the first ``n_steps``.
        """


@dataclass
class FusedBackend:
    """Runs a ``PlasticRNN``, a ``Population`` or, on the CPU, a ``PlasticLSTM``.

    Args:
        kernels: the kernels to run; None chooses those for the device of the inputs.
    """

    kernels: Kernels | None = None

    def supports(self, cell: Cell[Any], inputs: Tensor) -> bool:
        """Return whether the kernels compute this cell's equations, on this device and dtype."""
        if not _has_kernels(inputs.device.type):
            return False
        kernels = self.kernels or kernels_for(inputs.device.type)
        is_population = type(cell) is Population and is_untouched(cell)
        if not isinstance(cell, kernels.cells) or not (is_population or is_stock_cell(cell)):
            return False
        if not are_supported(module_of(cast(PlasticCell, cell)).connection.plasticity):
            return False
        tensors = (inputs, *cell.parameters())
        is_uniform = len({(tensor.device, tensor.dtype) for tensor in tensors}) == 1
        has_dtype = inputs.dtype in (torch.float32, torch.float64)
        return is_uniform and has_dtype

    def run(
        self,
        cell: Cell[PlasticState],
        inputs: Tensor,
        state: PlasticState,
        episode_starts: Tensor | None,
    ) -> tuple[Tensor, PlasticState]:
        if len(inputs) == 1 and not torch.is_grad_enabled():
            # A stepper has a kernel for one step, so the loop over a sequence need not be compiled.
            state = map_leaves(_contiguous_copy, state)
            starts = None if episode_starts is None else episode_starts[0]
            return self.stepper(cell, state, 0)(inputs[0], starts).unsqueeze(0), state
        return self.apply(cast(PlasticCell, cell), inputs, state, episode_starts)

    def apply(
        self,
        cell: PlasticCell,
        inputs: Tensor,
        state: PlasticState,
        episode_starts: Tensor | None,
        forward_pass: ForwardPass | None = None,
    ) -> tuple[Tensor, PlasticState]:
        """Do what ``run`` does, but use ``forward_pass``, if given, instead of computing it."""
        if isinstance(cell, Population):
            cell.check_rows(inputs.shape[1])
        kernels = self.kernels or kernels_for(inputs.device.type)
        net_inputs: NetInputs = NetInputs.of(cell, inputs, episode_starts)
        found: list[Tensor] = _RunPlasticNet.apply(  # type: ignore[no-untyped-call]
            *(kernels, torch.is_grad_enabled(), forward_pass),
            *(*net_inputs, *NetState.of(state), *PlasticNet.of(cell)),
        )
        return found[0], NetState(*found[1:]).like(state)

    def stepper(
        self, cell: Cell[PlasticState], state: PlasticState, n_steps: int
    ) -> "FusedStepper":
        """Make a stepper; raise ``ValueError`` if the state cannot be changed in place."""
        if not all(leaf.is_contiguous() for leaf in leaves(state)):
            raise ValueError("a state that is not contiguous cannot be changed in place")
        places = [leaf.data_ptr() for leaf in leaves(state) if leaf.numel()]
        if len(set(places)) < len(places):
            raise ValueError("two tensors of the state share their memory: clone one of them")
        if isinstance(cell, Population):
            cell.check_rows(len(state.hidden))
        return FusedStepper(self, cast(PlasticCell, cell), state, n_steps)


FUSED = FusedBackend()


class FusedStepper:
    """Takes steps with the kernels' stepper. ``replay`` uses its record as the forward pass."""

    def __init__(
        self,
        backend: FusedBackend,
        cell: PlasticCell,
        state: PlasticRNNState | PlasticLSTMState,
        n_steps: int,
    ) -> None:
        self._backend, self._cell, self._state = backend, cell, state
        device, (n_rows, n) = state.hidden.device, state.hidden.shape
        kernels = backend.kernels or kernels_for(device.type)
        rows_at_once = kernels.rows_at_once(n_steps, n_rows, n, device)
        segment_length = choose_segment_length(n_steps, n_rows, rows_at_once)
        self._steps = kernels.stepper(cell, NetState.of(state), n_steps, segment_length)

    def __call__(self, inputs: Tensor, episode_starts: Tensor | None) -> Tensor:
        return self._steps(inputs, episode_starts)

    @property
    def can_run_closed_loop(self) -> bool:
        """Whether the kernels support ``run_closed_loop``."""
        return isinstance(self._steps, NumbaStepper)

    def run_closed_loop(self, *arguments: Any) -> tuple[Tensor, Tensor | None, Any]:
        """Do what ``Stepper.run_closed_loop`` does; return the source of the first net too."""
        assert isinstance(self._steps, NumbaStepper)
        found, source = self._steps.run_closed_loop(*arguments)
        net = PlasticNet.of(self._cell)
        activity = None if net.modulator_weight is None else _modulating_activity(net, found)
        return found.outputs, activity, source

    def replay(
        self, inputs: Tensor, episode_starts: Tensor, initial_state: PlasticState
    ) -> tuple[Tensor, PlasticState] | None:
        forward_pass = self._steps.take_recorded()
        if forward_pass is None:
            return None
        return self._backend.apply(self._cell, inputs, initial_state, episode_starts, forward_pass)


def _contiguous_copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)


@cache
def kernels_for(device_type: str) -> Kernels:
    """Return the kernels for a type of device, "cpu" or "cuda"."""
    if device_type == "cpu":
        return NumbaKernels()
    from plasticrl.core.backends.cuda import TritonKernels  # needs Triton

    return TritonKernels()


def choose_segment_length(n_steps: int, n_rows: int, rows_at_once: int) -> int:
    """Return G, the number of steps in a segment, from T, B and P.

    The number of stored traces, B T / G + P G, is smallest at G = sqrt(T B / P). G is limited to
    sqrt(2 T), so that a row's recomputed traces fit in the processor's cache.
    """
    return max(1, min(n_steps, round(math.sqrt(n_steps * min(2.0, n_rows / max(1, rows_at_once))))))


@cache
def _has_kernels(device_type: str) -> bool:
    return device_type == "cpu" or (device_type == "cuda" and find_spec("triton") is not None)


class _RunPlasticNet(torch.autograd.Function):
    """The function from projected inputs, state and parameters to outputs and final state."""

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx,
        kernels,
        needs_gradient,
        forward_pass,
        projected,
        mask,
        starts,
        hidden,
        trace,
        eligibility,
        cell,
        *net,
    ):
        if forward_pass is None:
            n_steps, n_rows, n = projected.shape
            rows_at_once = kernels.rows_at_once(n_steps, n_rows, n, projected.device)
            segment_length = 0  # no checkpoints
            if needs_gradient:
                segment_length = choose_segment_length(n_steps, n_rows, rows_at_once)
            inputs = NetInputs(projected, mask, starts)
            state = NetState(hidden, trace, eligibility, cell)
            forward_pass = kernels.forward(PlasticNet(*net), inputs, state, segment_length)
        # A new tensor: otherwise, the given one would keep the graph and its checkpoints alive.
        outputs = forward_pass.outputs.detach()
        if needs_gradient:
            plasticity, reads_cell, *parameters = net
            ctx.save_for_backward(outputs, hidden, mask, starts, cell, *parameters)
            ctx.kernels, ctx.options = kernels, (plasticity, reads_cell)
            # The outputs are left out: ``save_for_backward`` holds them, and a second reference
            # here would be a circle.
            ctx.others = {
                name: getattr(forward_pass, name)
                for name in ("modulation", "checkpoints", "segment_length", "gates", "cells")
            }
        final = forward_pass.final_state
        final_cell = None if final.cell is None else final.cell.clone()
        return outputs, final.hidden.clone(), final.trace, final.eligibility, final_cell

    @staticmethod
    def backward(ctx, g_outputs, *g_state):  # type: ignore[no-untyped-def]
        if torch.is_grad_enabled():  # because of create_graph=True
            raise RuntimeError("the fused loops have no second derivatives: use backend='eager'")
        outputs, hidden, mask, starts, cell, *parameters = ctx.saved_tensors
        net = PlasticNet(*ctx.options, *parameters)
        saved = SavedForBackward(outputs, hidden, mask, starts, cell=cell, **ctx.others)
        gradients = ctx.kernels.backward(net, saved, g_outputs, NetState(*g_state))
        projected = gradients.projected
        n_nets = len(net.weight)
        parts = [
            _parameter_gradients(net, _rows_of(s, n_nets, gradients), _rows_of(s, n_nets, saved))
            for s in range(n_nets)
        ]
        weight, eta, *of_others = (
            None if tensors[0] is None else torch.stack(tensors)
            for tensors in zip(*parts, strict=True)
        )
        if net.retroactive:
            eta = gradients.eta
        # In the order of the arguments of ``forward``; None where there is no gradient.
        return (
            *(None, None, None),
            *(projected if mask is None else projected.masked_fill(~mask, 0), None, None),
            *(gradients.hidden, gradients.trace, gradients.eligibility, gradients.cell),
            *(None, None, weight, gradients.alpha, eta, *of_others),
        )


PerNet = TypeVar("PerNet", Gradients, SavedForBackward)


def _rows_of(index: int, n_nets: int, tensors: PerNet) -> PerNet:
    """Select the rows of one net in the tensors that ``_parameter_gradients`` reads.

    The rows are copied, unless there is only one net.
    """
    if n_nets == 1:
        return tensors
    row_axes = {"hidden": 0, "outputs": 1, "mask": 1, "starts": 1, "modulation": 1}
    row_axes |= {"projected": 1, "rate": 1, "modulator_pre_activation": 1}
    selected = {
        name: tensor.tensor_split(n_nets, row_axes[name])[index].contiguous()
        for name, tensor in tensors._asdict().items()
        if name in row_axes and tensor is not None
    }
    return tensors._replace(**selected)


def _parameter_gradients(
    net: PlasticNet, gradients: Gradients, saved: SavedForBackward
) -> tuple[Tensor | None, ...]:
    """Return the gradients of one net's parameters except alpha, in the order of ``PlasticNet``.

    With retroactive modulation, that of eta is invalid; ``gradients.eta`` has the correct one.
    """
    eta = modulator = fan_out = gates = None
    if net.eta is not None:
        eta = gradients.rate.sum().view(1)
    if net.modulator_weight is not None:
        activity = _modulating_activity(net, saved)
        modulator = _modulator_gradients(gradients.modulator_pre_activation, activity)
    if net.fan_out_weight is not None:
        fan_out = _fan_out_gradients(gradients.rate, saved.modulation)
    weight = _weight_gradient(gradients.projected, saved)
    if net.gates_weight is not None:
        weight, *gates = _divided(weight, gradients.projected.sum(dim=(0, 1)))
    none = (None, None)
    return weight, eta, *(modulator or none), *(fan_out or none), *(gates or none)


def _modulating_activity(net: PlasticNet, found: ForwardPass | SavedForBackward) -> Tensor:
    """Return the activity (T, B, N) that the neuromodulator reads."""
    if not net.reads_cell:
        return found.outputs
    assert found.cells is not None
    return found.cells


def _divided(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Divide the gradients of all gates' weight (4N, N) and bias (4N,), in the order i, f, g, o.

    Returns:
        The gradients of the plastic connection's weight (N, N), and of V (3N, N) and its bias.
    """
    i, f, candidate, o = weight.chunk(4)
    bias_i, bias_f, _, bias_o = bias.chunk(4)
    return candidate, torch.cat([i, f, o]), torch.cat([bias_i, bias_f, bias_o])


def _weight_gradient(g_projected: Tensor, saved: SavedForBackward) -> Tensor:
    """Return the gradient of the recurrent weights (N, N); clamped target neurons add nothing.

    For an LSTM, the result (4N, N) has the gradients of all gates' recurrent weights.
    """
    outputs, starts = saved.outputs, saved.starts
    g_projected = g_projected if saved.mask is None else g_projected.masked_fill(saved.mask, 0)
    # Activity before an episode is not multiplied by zero, because infinity would become NaN.
    before = outputs[:-1]
    if not before.is_cpu or starts[1:].any():  # any() would wait for a GPU
        before = before.masked_fill(starts[1:].unsqueeze(2), 0)
    gradient = g_projected[0].T @ saved.hidden.masked_fill(starts[0].unsqueeze(1), 0)
    gradient += g_projected[1:].flatten(0, 1).T @ before.flatten(0, 1)
    return gradient


def _modulator_gradients(g_pre_activation: Tensor, activity: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of a modulator's weight (1, N) and bias (1,).

    Args:
        g_pre_activation: the gradient of the modulator's pre-activation (T, B).
        activity: the modulator's input (T, B, N).
    """
    weight = g_pre_activation.reshape(1, -1) @ activity.flatten(0, 1)
    return weight, g_pre_activation.sum().view(1)


def _fan_out_gradients(g_rate: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of the fan-out's weight (N, 1) and bias (N,).

    Args:
        g_rate: the gradient of the rates (T, B, N).
        modulation: the fan-out's input M (T, B).
    """
    g_rate = g_rate.flatten(0, 1)
    return g_rate.T @ modulation.view(-1, 1), g_rate.sum(dim=0)
