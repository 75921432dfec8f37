"""The fused backend's loops on the GPU: Triton's, launched on torch tensors.

Everything is added up in an order that depends on shapes and on the device alone, so results are
bit-identical from run to run. Importing this needs Triton, which comes with torch for GPUs.

Not measured on a GPU: the sizes of tiles, the warps and the programs are reasoned, not tuned. What
the compiler says for compute capability 9.0 and float32: up to N = 64 nothing spills; at N = 100
the forward pass spills nothing without eligibility, the backward pass some 300 bytes a thread, and
900 with eligibility.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.graph import increment_version

from plasticrl.core.backends import triton_backward, triton_forward
from plasticrl.core.backends.plastic_net import Drive, ForwardPass, Gradients, PlasticNet, Saved
from plasticrl.core.cells.plastic_rnn import PlasticRNN, PlasticRNNState
from plasticrl.core.state import leaves

ON_CHIP = 64 * 1024
"""Bytes of a trace's tile above which it stays in memory: a quarter of a processor's registers."""

TILE = 32 * 1024
"""Bytes of a tile of a trace that stays in memory."""

PROGRAMS = 4
"""Programs of the backward pass per processor; each has room for the recomputed traces."""

OptionalTensors = tuple[Tensor | None, Tensor | None]


@dataclass(frozen=True)
class TritonKernels:
    """The loops for tensors on the GPU, or on any device in Triton's interpreter; see ``Kernels``.

    Args:
        rows: target neurons in a tile, a power of two, the trace staying in memory. None: the whole
            trace on chip where it fits, else as many as make a good tile.
        n_programs: how many programs of the backward pass share the batch. None: what suits the
            device.
    """

    rows: int | None = None
    n_programs: int | None = None

    def rows_at_once(self, n_steps: int, n_rows: int, n: int, device: torch.device) -> int:
        return min(n_rows, self.n_programs or _useful_programs(device))

    def forward(
        self, net: PlasticNet, drive: Drive, state: PlasticRNNState, spacing: int
    ) -> ForwardPass:
        n_steps, n_rows, n = drive.drive.shape
        n_checkpoints = -(-n_steps // spacing) if spacing else 0
        kept: OptionalTensors = (None, None)
        if spacing:
            kept = _empty_traces(net, (n_checkpoints, n_rows, n, n))
        state = PlasticRNNState(state.hidden.contiguous(), *_copies(*state[1:]))
        outputs, modulation = self._run(net, _parameters(net), drive, state, kept, spacing)
        return ForwardPass(outputs, state.trace, state.eligibility, modulation, kept, spacing)

    def _run(
        self,
        net: PlasticNet,
        parameters: dict[str, Tensor | None],
        drive: Drive,
        state: PlasticRNNState,
        checkpoints: OptionalTensors,
        spacing: int,
    ) -> tuple[Tensor, Tensor]:
        """Outputs (T, B, N) and modulation (T, B); the state's traces become the final ones."""
        n_steps, n_rows = drive.drive.shape[:2]
        outputs = drive.drive.new_empty(drive.drive.shape)
        modulation = drive.drive.new_empty(n_steps, n_rows)
        layout = self._layout(net)
        _launch(
            triton_forward.tiled if "ROWS" in layout else triton_forward.on_chip,
            n_programs=n_rows,
            **parameters,
            **_as_arguments(drive),
            **state._asdict(),
            x=outputs,
            modulation=modulation,
            checkpoints=checkpoints[0],
            eligibility_checkpoints=checkpoints[1],
            n_steps=n_steps,
            n_rows=n_rows,
            spacing=max(spacing, 1),
            **layout,
        )
        return outputs, modulation

    def backward(
        self, net: PlasticNet, saved: Saved, g_outputs: Tensor, g_state: PlasticRNNState
    ) -> Gradients:
        outputs = saved.outputs
        n_steps, n_rows, n = outputs.shape
        n_programs = self.rows_at_once(n_steps, n_rows, n, outputs.device)
        recomputed = _empty_traces(net, (n_programs, saved.spacing, n, n))
        trace, eligibility = _copies(
            g_state.trace, g_state.eligibility if net.retroactive else None
        )
        gradients = Gradients(
            drive=torch.empty_like(outputs),
            rate=torch.empty_like(outputs),
            modulator_drive=torch.zeros_like(saved.modulation),
            hidden=g_state.hidden.clone(memory_format=torch.contiguous_format),
            trace=trace,
            eligibility=eligibility,
            alpha=outputs.new_zeros(n_programs, n, n),
            eta=outputs.new_empty(n_programs),
        )
        layout = self._layout(net)
        _launch(
            triton_backward.tiled if "ROWS" in layout else triton_backward.on_chip,
            n_programs=n_programs,
            **_parameters(net),
            mask=_bytes(saved.mask),
            starts=_bytes(saved.starts),
            hidden=saved.hidden.contiguous(),
            x=outputs,
            modulation=saved.modulation,
            checkpoints=saved.checkpoints[0],
            eligibility_checkpoints=saved.checkpoints[1],
            recomputed=recomputed[0],
            recomputed_eligibility=recomputed[1],
            g_x=g_outputs.contiguous(),
            **{f"d_{name}": gradient for name, gradient in gradients._asdict().items()},
            n_steps=n_steps,
            n_rows=n_rows,
            spacing=saved.spacing,
            sharing=n_programs,
            **layout,
        )
        sums = {"alpha": gradients.alpha.sum(dim=0), "eta": gradients.eta.sum().view(1)}
        return gradients._replace(**sums)

    def stepper(
        self, cell: PlasticRNN, state: PlasticRNNState, n_steps: int, spacing: int
    ) -> "TritonStepper":
        return TritonStepper(self, cell, state)

    def _layout(self, net: PlasticNet) -> dict[str, Any]:
        """The kernels' options: what kind of net, and how its trace is cut into tiles."""
        options = net.plasticity
        block = max(16, triton.next_power_of_2(len(net.weight)))
        row_bytes = block * net.weight.element_size()
        fits = block * row_bytes <= ON_CHIP
        rows = self.rows or (block if fits else max(1, TILE // row_bytes))
        modulated = options.modulation != "none"
        return ({} if fits and self.rows is None else {"ROWS": rows}) | {
            "SOFT": options.bound == "soft",
            "RETROACTIVE": net.retroactive,
            "LEAK": "decay" if options.bound == "decay" else options.rule,
            "ACTIVATION": options.modulator_activation if modulated else "none",
            "N": len(net.weight),
            "BLOCK": block,
            "num_warps": min(16, max(1, rows * block // 512)),
        }


class TritonStepper:
    """Takes steps, each a sequence of one, and records none; see ``KernelStepper``."""

    def __init__(self, kernels: TritonKernels, cell: PlasticRNN, state: PlasticRNNState) -> None:
        self._kernels, self._cell, self._state = kernels, cell, state
        self._net = PlasticNet.of(cell.connection)
        self._parameters = _parameters(self._net)

    @torch.no_grad()
    def __call__(self, inputs: Tensor, episode_starts: Tensor | None) -> Tensor:
        starts = None if episode_starts is None else episode_starts.unsqueeze(0)
        drive = Drive.of(self._cell, inputs.unsqueeze(0), starts)
        outputs, _ = self._kernels._run(
            self._net, self._parameters, drive, self._state, (None, None), spacing=0
        )
        self._state.hidden.copy_(outputs[0])
        increment_version(leaves(self._state)[1:])
        return outputs[0]

    def take_recorded(self) -> None:
        return None


def _parameters(net: PlasticNet) -> dict[str, Tensor | None]:
    """The net's numbers, by the names of the kernels' arguments."""
    clip = net.weight.new_full((1,), net.trace_limit)
    parameters = {
        "weight": net.weight,
        "alpha": net.alpha,
        "eta": torch.zeros_like(clip) if net.eta is None else net.eta,
        "clip": clip,
        "modulator_weight": net.modulator_weight,
        "modulator_bias": net.modulator_bias,
        "fan_out_weight": net.fan_out_weight,
        "fan_out_bias": net.fan_out_bias,
    }
    return {
        name: None if parameter is None else parameter.detach().contiguous()
        for name, parameter in parameters.items()
    }


def _as_arguments(sequence: Drive) -> dict[str, Tensor | None]:
    return {
        "drive": sequence.drive.contiguous(),
        "mask": _bytes(sequence.mask),
        "starts": _bytes(sequence.starts),
    }


def _copies(trace: Tensor, eligibility: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Traces to be worked on, in C order."""
    dense = torch.contiguous_format
    copied = None if eligibility is None else eligibility.clone(memory_format=dense)
    return trace.clone(memory_format=dense), copied


def _empty_traces(net: PlasticNet, shape: tuple[int, ...]) -> OptionalTensors:
    """Room for traces and, where there are any, eligibility traces."""
    weight = net.weight.detach()
    return weight.new_empty(shape), weight.new_empty(shape) if net.retroactive else None


def _bytes(flags: Tensor | None) -> Tensor | None:
    return None if flags is None else flags.contiguous().view(torch.uint8)


def _launch(kernel: Any, n_programs: int, **arguments: Any) -> None:
    """Run the programs on the device of the tensors; Triton would take the current device."""
    device = arguments["x"].device
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        if n_programs:
            kernel[(n_programs,)](**arguments)


def _useful_programs(device: torch.device) -> int:
    if device.type != "cuda":
        return 1
    return PROGRAMS * torch.cuda.get_device_properties(device).multi_processor_count
