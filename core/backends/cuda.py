"""The fused backend's loops on the GPU: Triton's, launched on torch tensors.

Everything is added up in an order that depends on shapes and on the device alone, so results are
bit-identical from run to run. Importing this needs Triton, which comes with torch for GPUs.

Not measured on a GPU: the sizes of tiles, the warps and the programs are reasoned, not tuned. What
the compiler says for compute capability 9.0 and float32: up to N = 64 nothing spills; at N = 100
the forward pass spills nothing without eligibility, the backward pass some 300 bytes a thread, and
900 with eligibility.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import triton
from torch import Tensor

from plasticrl.core.backends import triton_kernels, triton_tiled
from plasticrl.core.backends.memory import Memory
from plasticrl.core.backends.net import Given, Gradients, Net, Past, Ran
from plasticrl.core.cells.plastic_rnn import PlasticRNN, PlasticRNNState

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
    remembers: ClassVar[bool] = False

    def rows_at_once(self, n_steps: int, n_rows: int, n: int, device: torch.device) -> int:
        return min(n_rows, self.n_programs or _useful_programs(device))

    def forward(self, net: Net, given: Given, every: int) -> Ran:
        n_steps, n_rows, n = given.drive.shape
        hidden, trace, eligibility = given.state
        state = PlasticRNNState(hidden.contiguous(), *_copies(trace, eligibility))
        n_kept = -(-n_steps // every) if every else 0
        kept = _scratch(net, (n_kept, n_rows, n, n)) if every else (None, None)
        outputs, signal = self._run(net, _pointers(net), given._replace(state=state), kept, every)
        return Ran(outputs, state.trace, state.eligibility, signal, kept, every)

    def _run(
        self,
        net: Net,
        pointers: tuple[Tensor | None, ...],
        given: Given,
        kept: OptionalTensors,
        every: int,
    ) -> tuple[Tensor, Tensor]:
        """Outputs (T, B, N) and modulation (T, B); the state's traces become the final ones."""
        n_steps, n_rows = given.drive.shape[:2]
        outputs = given.drive.new_empty(given.drive.shape)
        signal = given.drive.new_empty(n_steps, n_rows)
        arrays = (given.drive.contiguous(), _bytes(given.mask), _bytes(given.starts), *given.state)
        layout = self._layout(net)
        kernel = triton_tiled.forward if "ROWS" in layout else triton_kernels.forward
        sizes = (n_steps, n_rows, max(every, 1))
        _launch(kernel, n_rows, layout, *pointers, *arrays, outputs, signal, *kept, *sizes)
        return outputs, signal

    def backward(
        self, net: Net, past: Past, g_outputs: Tensor, g_state: PlasticRNNState
    ) -> Gradients:
        outputs = past.outputs
        n_steps, n_rows, n = outputs.shape
        n_programs = self.rows_at_once(n_steps, n_rows, n, outputs.device)
        g_hidden, g_trace, g_eligibility = g_state
        hidden = g_hidden.clone(memory_format=torch.contiguous_format)
        traces = _copies(g_trace, g_eligibility if net.retroactive else None)
        drive, rate = torch.empty_like(outputs), torch.empty_like(outputs)
        signal = torch.zeros_like(past.signal)
        alpha, eta = outputs.new_zeros(n_programs, n, n), outputs.new_empty(n_programs)
        run = (_bytes(past.mask), _bytes(past.starts), past.hidden.contiguous(), outputs)
        scratch = _scratch(net, (n_programs, past.every, n, n))
        layout = self._layout(net)
        kernel = triton_tiled.backward if "ROWS" in layout else triton_kernels.backward
        _launch(
            *(kernel, n_programs, layout),
            *(*_pointers(net), *run, past.signal, *past.kept, *scratch),
            *(g_outputs.contiguous(), drive, rate, signal, alpha, eta, hidden, *traces),
            *(n_steps, n_rows, past.every, n_programs),
        )
        d_alpha, d_eta = alpha.sum(dim=0), eta.sum().view(1)
        return Gradients(drive, rate, signal, hidden, *traces, d_alpha, d_eta)

    def stepper(
        self, cell: PlasticRNN, state: PlasticRNNState, memory: Memory | None = None
    ) -> Callable[[Tensor, Tensor | None], Tensor]:
        assert memory is None
        net = Net.of(cell.connection)
        pointers = _pointers(net)

        @torch.no_grad()
        def advance(inputs: Tensor, episode_starts: Tensor | None) -> Tensor:
            starts = None if episode_starts is None else episode_starts.unsqueeze(0)
            given = Given.of(cell, inputs.unsqueeze(0), state, starts)
            outputs, _ = self._run(net, pointers, given, (None, None), every=0)
            state.hidden.copy_(outputs[0])
            return outputs[0]

        return advance

    def _layout(self, net: Net) -> dict[str, Any]:
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


def _pointers(net: Net) -> tuple[Tensor | None, ...]:
    """The net's numbers as the kernels take them."""
    clip = net.weight.new_full((1,), net.clip)
    eta = torch.zeros_like(clip) if net.eta is None else net.eta
    modulator = (net.reader, net.reader_bias, net.fan_out, net.fan_out_bias)
    parameters = (net.weight, net.alpha, eta, clip, *modulator)
    return tuple(None if p is None else p.detach().contiguous() for p in parameters)


def _copies(trace: Tensor, eligibility: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Traces to be worked on, in C order."""
    dense = torch.contiguous_format
    copied = None if eligibility is None else eligibility.clone(memory_format=dense)
    return trace.clone(memory_format=dense), copied


def _scratch(net: Net, shape: tuple[int, ...]) -> OptionalTensors:
    """Room for traces and, where there are any, eligibility traces."""
    weight = net.weight.detach()
    return weight.new_empty(shape), weight.new_empty(shape) if net.retroactive else None


def _bytes(flags: Tensor | None) -> Tensor | None:
    return None if flags is None else flags.contiguous().view(torch.uint8)


def _launch(kernel: Any, n_programs: int, layout: dict[str, Any], *arguments: Any) -> None:
    """Run the programs where the tensors are: Triton asks for the current device instead."""
    device = arguments[0].device
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        if n_programs:
            kernel[(n_programs,)](*arguments, **layout)


def _useful_programs(device: torch.device) -> int:
    if device.type != "cuda":
        return 1
    return PROGRAMS * torch.cuda.get_device_properties(device).multi_processor_count
