"""The fused backend's kernels on the GPU, written in Triton.

The order of additions depends only on the shapes and the device, so results are bit-identical from
run to run. Importing this file needs Triton, which is installed with torch for GPUs.

The sizes of tiles and the numbers of warps and programs are estimates and were not tuned on a GPU.
For compute capability 9.0 and float32, the compiler reports no spilled registers up to N = 64. At
N = 100, the forward pass without eligibility spills none, and the backward pass about 300 bytes for
each thread, or 900 with eligibility.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import triton
from torch import Tensor
from torch.autograd.graph import increment_version

from plasticrl.core.backends import triton_backward, triton_forward
from plasticrl.core.backends.plastic_net import (
    ForwardPass,
    Gradients,
    NetInputs,
    NetState,
    PlasticCell,
    PlasticNet,
    SavedForBackward,
)
from plasticrl.core.backends.triton_update import Kind, Net, Traces
from plasticrl.core.cells.plastic_rnn import PlasticRNN
from plasticrl.core.population import Population
from plasticrl.core.state import leaves, map_leaves

ON_CHIP_BYTES = 64 * 1024
"""The largest trace (N, N) that is held in registers: a quarter of a multiprocessor's registers."""

TILE_BYTES = 32 * 1024
"""The size of a tile, if the trace stays in memory and is processed tile by tile."""

PROGRAMS_PER_PROCESSOR = 4
"""Programs of the backward pass; each has its own memory for recomputed traces."""


@dataclass(frozen=True)
class TritonKernels:
    """Kernels for tensors on the GPU, or on any device in Triton's interpreter; see ``Kernels``.

    Args:
        rows: the number of target neurons in a tile, a power of two; the trace then stays in
            memory. None: the trace is held in registers if it has at most ``ON_CHIP_BYTES``, else
            processed in tiles of ``TILE_BYTES``.
        n_programs: the number of programs of the backward pass. None:
            ``PROGRAMS_PER_PROCESSOR`` for each multiprocessor of the GPU.
    """

    rows: int | None = None
    n_programs: int | None = None
    cells: ClassVar = (PlasticRNN, Population)

    def rows_at_once(self, n_steps: int, n_rows: int, n: int, device: torch.device) -> int:
        return min(n_rows, self.n_programs or _useful_programs(device))

    def forward(
        self, net: PlasticNet, inputs: NetInputs, state: NetState, segment_length: int
    ) -> ForwardPass:
        n_steps, n_rows, n = inputs.projected.shape
        checkpoints = Traces(None, None)
        if segment_length:
            checkpoints = _empty_traces(net, (-(-n_steps // segment_length), n_rows, n, n))
        return self.run(net, inputs, _copied(state), checkpoints, segment_length)

    def run(
        self,
        net: PlasticNet,
        inputs: NetInputs,
        state: NetState,
        checkpoints: Traces,
        segment_length: int,
        parameters: Net | None = None,
    ) -> ForwardPass:
        """Run the forward pass. The final traces overwrite those in ``state``."""
        projected, mask, starts = inputs
        n_steps, n_rows, _ = projected.shape
        outputs = projected.new_empty(projected.shape)
        modulation = projected.new_empty(n_steps, n_rows)
        traces = state.trace, state.eligibility
        out = ForwardPass(outputs, *traces, modulation, checkpoints, segment_length)
        _launch(
            triton_forward,
            n_rows,
            nets=parameters or _parameters(net),
            sequence=NetInputs(projected.contiguous(), _bytes(mask), _bytes(starts)),
            hidden=state.hidden,
            out=out._replace(segment_length=0),  # an argument: Triton specializes tuples' numbers
            n_steps=n_steps,
            n_rows=n_rows,
            net_rows=n_rows // len(net.weight),
            segment_length=max(segment_length, 1),
            kind=self._kind(net),
        )
        return out

    def backward(
        self, net: PlasticNet, saved: SavedForBackward, g_outputs: Tensor, g_state: NetState
    ) -> Gradients:
        outputs = saved.outputs
        n_steps, n_rows, n = outputs.shape
        n_nets = len(net.weight)
        at_once = self.rows_at_once(n_steps, n_rows, n, outputs.device)
        n_programs = n_nets * min(n_rows // n_nets, -(-at_once // n_nets))
        g_state = _copied(g_state if net.retroactive else g_state._replace(eligibility=None))
        gradients = Gradients(
            projected=torch.empty_like(outputs),
            rate=torch.empty_like(outputs),
            modulator_pre_activation=torch.zeros_like(saved.modulation),
            hidden=g_state.hidden,
            trace=g_state.trace,
            eligibility=g_state.eligibility,
            alpha=outputs.new_zeros(n_programs, n, n),
            eta=outputs.new_empty(n_programs),
        )
        _launch(
            triton_backward,
            n_programs,
            nets=_parameters(net),
            saved=saved._replace(
                hidden=saved.hidden.contiguous(),
                mask=_bytes(saved.mask),
                starts=_bytes(saved.starts),
                # The kernel has an argument instead, because Triton would compile it again for
                # each number in a tuple.
                segment_length=0,
            ),
            recomputed=_empty_traces(net, (n_programs, saved.segment_length, n, n)),
            g_outputs=g_outputs.contiguous(),
            out=gradients,
            n_steps=n_steps,
            n_rows=n_rows,
            net_rows=n_rows // n_nets,
            segment_length=saved.segment_length,
            kind=self._kind(net),
        )
        return gradients._replace(
            alpha=gradients.alpha.view(n_nets, -1, n, n).sum(dim=1),
            eta=gradients.eta.view(n_nets, -1).sum(dim=1, keepdim=True),
        )

    def stepper(
        self,
        cell: PlasticCell,
        state: NetState,
        n_steps: int,
        segment_length: int,
    ) -> "TritonStepper":
        return TritonStepper(self, cell, state)

    def _kind(self, net: PlasticNet) -> Kind:
        options = net.plasticity
        block = max(16, triton.next_power_of_2(net.weight.shape[-1]))
        row_bytes = block * net.weight.element_size()
        fits = block * row_bytes <= ON_CHIP_BYTES
        return Kind(
            soft=options.bound == "soft",
            retroactive=net.retroactive,
            leak="decay" if options.bound == "decay" else options.rule,
            activation=options.modulator_activation if options.modulation != "none" else "none",
            n=net.weight.shape[-1],
            block=block,
            rows=self.rows or (None if fits else max(1, TILE_BYTES // row_bytes)),
        )


class TritonStepper:
    """Takes each step as a sequence of length 1, and records none; see ``KernelStepper``."""

    def __init__(self, kernels: TritonKernels, cell: PlasticCell, state: NetState) -> None:
        self._kernels, self._cell, self._state = kernels, cell, state
        self._net = PlasticNet.of(cell)
        self._parameters = _parameters(self._net)

    @torch.no_grad()
    def __call__(self, inputs: Tensor, episode_starts: Tensor | None) -> Tensor:
        starts = None if episode_starts is None else episode_starts.unsqueeze(0)
        net_inputs = NetInputs.of(self._cell, inputs.unsqueeze(0), starts)
        found = self._kernels.run(
            self._net, net_inputs, self._state, Traces(None, None), 0, self._parameters
        )
        self._state.hidden.copy_(found.outputs[0])
        increment_version(leaves(self._state)[1:])
        return found.outputs[0]

    def take_recorded(self) -> None:
        return None


def _parameters(net: PlasticNet) -> Net:
    clip = net.weight.new_full((1,), net.trace_limit)
    eta = net.weight.new_zeros(len(net.weight), 1) if net.eta is None else net.eta
    parameters = net._asdict() | {"eta": eta}
    dense: dict[str, Any] = {
        name: None if parameters[name] is None else parameters[name].detach().contiguous()
        for name in Net._fields
        if name != "clip"
    }
    return Net(**dense, clip=clip)


def _copied(state: NetState) -> NetState:
    """Return a copy of a state, in C order."""
    return map_leaves(lambda leaf: leaf.clone(memory_format=torch.contiguous_format), state)


def _empty_traces(net: PlasticNet, shape: tuple[int, ...]) -> Traces:
    """Return uninitialized traces and, with retroactive modulation, eligibility traces."""
    weight = net.weight.detach()
    return Traces(weight.new_empty(shape), weight.new_empty(shape) if net.retroactive else None)


def _bytes(flags: Tensor | None) -> Any:
    return None if flags is None else flags.contiguous().view(torch.uint8)


def _launch(kernels: Any, n_programs: int, kind: Kind, **arguments: Any) -> None:
    """Run the programs on the tensors' device; otherwise Triton would use the current device."""
    kernel = kernels.on_chip if kind.rows is None else kernels.tiled
    num_warps = min(16, max(1, (kind.rows or kind.block) * kind.block // 512))
    device = arguments["nets"].weight.device
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        if n_programs:
            kernel[(n_programs,)](**arguments, kind=kind, num_warps=num_warps)


def _useful_programs(device: torch.device) -> int:
    if device.type != "cuda":
        return 1
    return PROGRAMS_PER_PROCESSOR * torch.cuda.get_device_properties(device).multi_processor_count
