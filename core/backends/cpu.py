"""The fused backend's kernels on the CPU: loops compiled by numba, on NumPy views of the tensors.

Batch rows are divided into groups, which up to ``torch.get_num_threads()`` Python threads take one
after another, so that no thread waits for one that is slower. The loops release the interpreter's
lock; an OpenMP pool of their own would compete with torch's. The groups depend only on the sizes,
so results are bit-identical from run to run, with any number of threads.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import increment_version

from plasticrl.core.backends.numba_backward import Upstream, compiled_backward
from plasticrl.core.backends.numba_forward import compiled_forward
from plasticrl.core.backends.numba_step import (
    ADDITIVE,
    CLAMPED,
    WEIGHTS,
    Projection,
    Recorded,
    compiled_step,
)
from plasticrl.core.backends.numba_update import (
    LINEAR,
    NO_MODULATION,
    PAD,
    SIGMOID,
    TANH,
    TOGETHER,
    Kind,
    Options,
    Parameters,
    State,
)
from plasticrl.core.backends.plastic_net import (
    ForwardPass,
    Gradients,
    NetInputs,
    NetState,
    PlasticCell,
    PlasticNet,
    SavedForBackward,
    module_of,
)
from plasticrl.core.cells.plastic_lstm import PlasticLSTM
from plasticrl.core.cells.plastic_rnn import PlasticRNN
from plasticrl.core.population import Population
from plasticrl.core.state import leaves, map_leaves

ACTIVATIONS = {"tanh": TANH, "sigmoid": SIGMOID, "linear": LINEAR}

INPUT_MODES = {"weights": WEIGHTS, "additive": ADDITIVE, "clamped": CLAMPED}

GROUP_WORK = 1_000_000
"""The least number of connection updates in a group of rows, which take about 0.4 ms."""

MOST_GROUPS = 16
"""The largest number of groups of a net's rows. Each has its own sums of gradients."""


CompiledLoop: TypeAlias = Callable[[Kind], Callable[..., None]]
"""A function like ``compiled_forward``, whose kernel computes each input from earlier outputs."""


class NumbaKernels:
    """Kernels for tensors on the CPU; see ``Kernels``."""

    cells = (PlasticRNN, PlasticLSTM, Population)

    def rows_at_once(self, n_steps: int, n_rows: int, n: int, device: torch.device) -> int:
        return 1  # for each thread, whose number must not change the results

    def forward(
        self, net: PlasticNet, inputs: NetInputs, state: NetState, segment_length: int
    ) -> ForwardPass:
        nets, n_steps = _arrays_of(net), len(inputs.starts)
        sources = [nets[0].all(inputs)] * len(nets)
        kernel = compiled_forward(nets[0].kind)
        return _run_forward(kernel, nets, sources, n_steps, state, segment_length)

    def backward(
        self, net: PlasticNet, saved: SavedForBackward, g_outputs: Tensor, g_state: NetState
    ) -> Gradients:
        nets, (n_steps, n_rows, n) = _arrays_of(net), saved.outputs.shape
        arrays = nets[0]
        if not net.retroactive:
            g_state = g_state._replace(eligibility=None)
        cuts = _cuts(n_rows // len(nets), n_steps * n**2)
        sums = (len(nets), len(cuts) - 1)
        found = Gradients(
            projected=torch.empty_like(saved.outputs if saved.gates is None else saved.gates),
            rate=torch.empty_like(saved.outputs),
            modulator_pre_activation=torch.zeros_like(saved.modulation),
            hidden=_like(g_state.hidden),
            trace=_like(g_state.trace),
            eligibility=None if g_state.eligibility is None else _like(g_state.eligibility),
            alpha=saved.outputs.new_zeros((*sums, *arrays.parameters.alpha.shape)),
            eta=saved.outputs.new_zeros((*sums, 1)),
            cell=None if g_state.cell is None else _like(g_state.cell),
        )
        upstream = Upstream(_array(g_outputs), *arrays.state(g_state))
        given, out = arrays.all(saved), arrays.all(found)
        arguments = [
            (*(one.parameters, one.options, given, upstream), out._replace(alpha=alpha, eta=eta))
            for one, alpha, eta in zip(nets, out.alpha, out.eta, strict=True)
        ]
        _run(compiled_backward(arrays.kind), arguments, cuts)
        alpha, eta = (sums.numpy().sum(axis=1) for sums in (found.alpha, found.eta))
        return found._replace(
            alpha=torch.from_numpy(alpha[:, :n, :n].copy()), eta=torch.from_numpy(eta)
        )

    def stepper(
        self,
        cell: PlasticCell,
        state: NetState,
        n_steps: int,
        segment_length: int,
    ) -> "NumbaStepper":
        return NumbaStepper(cell, state, n_steps, segment_length)


class NumbaStepper:
    """Takes steps and records the first ``n_steps``; see ``KernelStepper``."""

    def __init__(
        self,
        cell: PlasticCell,
        state: NetState,
        n_steps: int,
        segment_length: int,
    ) -> None:
        nets = _arrays_of(PlasticNet.of(cell), pad=(1, 1))
        projections = _projections(cell, nets[0])
        self._cell, self._projections = cell, projections
        self._kernel = compiled_step(nets[0].kind)
        self._state, self._arrays = state, tuple(nets[0].state(state))
        self._counted = [leaf for leaf in leaves(state) if not leaf.is_inference()]
        n_rows, n = state.hidden.shape
        self._cuts = _cuts(n_rows // len(nets), n**2)
        self._fixed = [
            (tuple(net.parameters), tuple(net.options), tuple(projection))
            for net, projection in zip(nets, projections, strict=True)
        ]
        self._no_starts = np.zeros(n_rows, bool)
        empty = nets[0].of(None, 3)
        gates = np.empty((n_rows, 4 * n if nets[0].kind.gated else 0), nets[0].dtype)
        self._unrecorded = Recorded(np.empty(n_rows, nets[0].dtype), empty, empty, gates)
        self._to_record = (n_steps, segment_length) if n_steps else None
        self._record: _Record | None = None
        self._recorded: ForwardPass | None = None

    def __call__(self, inputs: Tensor, episode_starts: Tensor | None) -> Tensor:
        starts = self._no_starts if episode_starts is None else _array(episode_starts)
        if self._to_record is not None:
            self._record, self._to_record = _Record(self._state, *self._to_record), None
        record = self._record
        recorded = self._unrecorded if record is None else record.next_step()
        step = (_array(inputs), starts, self._arrays, tuple(recorded))
        _run(self._kernel, [(*fixed, *step) for fixed in self._fixed], self._cuts)
        increment_version(self._counted)
        if record is not None:
            record.add(self._state)
            if record.n_taken == record.n_steps:
                self._record, self._recorded = None, record.as_forward_pass(self._state)
        return torch.from_numpy(self._arrays[0].copy())

    def run_closed_loop(
        self, compiled_loop: CompiledLoop, make_source: Callable[..., Any], n_steps: int
    ) -> tuple[ForwardPass, Any]:
        """Do what ``Stepper.run_closed_loop`` does.

        Returns:
            The forward pass, and the source of the first net.
        """
        nets = _arrays_of(PlasticNet.of(self._cell))
        sources = [make_source(s, projection) for s, projection in enumerate(self._projections)]
        segment_length = 0 if self._to_record is None else self._to_record[1]
        kernel, state = compiled_loop(nets[0].kind), self._state
        found = _run_forward(kernel, nets, sources, n_steps, state, segment_length)
        for array, leaf in zip(self._arrays, found.final_state, strict=True):
            if leaf is not None:
                array[...] = leaf.numpy()
        increment_version(self._counted)
        if self._to_record is not None:
            self._to_record, self._recorded = None, found
        return found, sources[0]

    def take_recorded(self) -> ForwardPass | None:
        recorded, self._recorded = self._recorded, None
        return recorded


class _Record:
    """Stores what the backward pass needs from T steps; ``fused`` defines T and G.

    Args:
        state: the state before the first step.
        n_steps: T.
        segment_length: G.
    """

    def __init__(self, state: NetState, n_steps: int, segment_length: int) -> None:
        hidden = state.hidden.detach().numpy()
        (n_rows, n), dtype = hidden.shape, hidden.dtype
        self.n_steps, self.n_taken, self._segment_length = n_steps, 0, segment_length
        self._outputs = state.hidden.new_empty(n_steps, n_rows, n).numpy()
        self._modulation = np.empty((n_steps, n_rows), dtype)
        padded = (n_rows, n + -n % TOGETHER, n + -n % PAD)
        shape = (-(-n_steps // segment_length), *padded)
        retroactive = state.eligibility is not None
        self._traces, self._eligibilities = _checkpoints(state.hidden, shape, retroactive)
        for array in (self._traces, self._eligibilities):
            array[..., n:, :] = array[..., n:] = 0
        self._empty = np.empty((0, 0, 0), dtype)
        is_gated = state.cell is not None
        self._gates = state.hidden.new_empty(n_steps, n_rows, 4 * n if is_gated else 0).numpy()
        self._cells = state.hidden.new_empty(n_steps, n_rows, n if is_gated else 0).numpy()

    def next_step(self) -> Recorded:
        """Return the arrays into which the kernel writes during the next step."""
        t = self.n_taken
        if t % self._segment_length:
            return Recorded(self._modulation[t], self._empty, self._empty, self._gates[t])
        k = t // self._segment_length
        eligibility = self._eligibilities[k] if len(self._eligibilities) else self._empty
        return Recorded(self._modulation[t], self._traces[k], eligibility, self._gates[t])

    def add(self, state: NetState) -> None:
        """Store the state after this step."""
        self._outputs[self.n_taken] = state.hidden.detach().numpy()
        if state.cell is not None:
            self._cells[self.n_taken] = state.cell.detach().numpy()
        self.n_taken += 1

    def as_forward_pass(self, final: NetState) -> ForwardPass:
        """Return the record of all T steps as the result of a forward pass.

        Args:
            final: the state after the last step. It is copied, because further steps change it.
        """
        final = map_leaves(lambda leaf: leaf.detach().clone(), final)
        return ForwardPass(
            outputs=torch.from_numpy(self._outputs),
            trace=final.trace,
            eligibility=final.eligibility,
            modulation=torch.from_numpy(self._modulation),
            checkpoints=(self._traces, self._eligibilities),
            segment_length=self._segment_length,
            gates=None if final.cell is None else torch.from_numpy(self._gates),
            cells=None if final.cell is None else torch.from_numpy(self._cells),
        )


class _Arrays:
    """A plastic net's parameters, with padded matrices, and options, as the kernels read them."""

    def __init__(self, net: PlasticNet, pad: tuple[int, int] = (TOGETHER, PAD)) -> None:
        self.dtype = _array(net.weight).dtype
        plasticity = net.plasticity
        gates = net.gates_weight
        decay, oja = plasticity.bound == "decay", plasticity.rule == "oja"
        self.kind = Kind(
            soft=plasticity.bound == "soft",
            retroactive=net.retroactive,
            leaks=decay or oja,
            gated=net.gates_weight is not None,
        )
        self.parameters = Parameters(
            weight=_padded(net.weight, pad),
            alpha=_padded(net.alpha, pad),
            modulator_weight=self.of(net.modulator_weight, 1),
            modulator_bias=self.of(net.modulator_bias, 1),
            fan_out_weight=self.of(net.fan_out_weight, 1),
            fan_out_bias=self.of(net.fan_out_bias, 1),
            gates_weight=_padded(net.weight[:0] if gates is None else gates, (1, pad[1])),
            gates_bias=self.of(net.gates_bias, 1),
        )
        number, modulated = self.dtype.type, plasticity.modulation != "none"
        self.options = Options(
            clip=number(net.trace_limit),
            decay=number(decay),
            oja=number(oja),
            eta=number(0.0 if net.eta is None else net.eta.item()),
            activation=ACTIVATIONS[plasticity.modulator_activation] if modulated else NO_MODULATION,
            reads_cell=net.reads_cell,
        )

    def of(self, tensor: Tensor | None, n_axes: int) -> np.ndarray:
        """Return a tensor as an array of ``n_axes`` axes, or an array of size 0 for None."""
        if tensor is None:
            return np.zeros((0,) * n_axes, self.dtype)
        return _array(tensor).ravel() if n_axes == 1 else _array(tensor)

    def all(self, tensors: Any) -> Any:
        """Return a NamedTuple with tensors replaced by arrays, and None by an array of size 0."""
        converted = {
            # A missing array needs the number of axes for which the kernels were compiled.
            name: self.of(value, 2 if name == "cell" else 3)
            if value is None or isinstance(value, Tensor)
            else value
            for name, value in tensors._asdict().items()
        }
        return tensors._replace(**converted)

    def state(self, state: NetState) -> State:
        hidden, trace, eligibility, cell = state
        return State(_array(hidden), _array(trace), self.of(eligibility, 3), self.of(cell, 2))


def _arrays_of(net: PlasticNet, pad: tuple[int, int] = (TOGETHER, PAD)) -> list[_Arrays]:
    """Return the arrays of each of the nets."""
    return [_Arrays(net.part(s), pad) for s in range(len(net.weight))]


def _projections(cell: PlasticCell, arrays: _Arrays) -> list[Projection]:
    """Return the projection of each of the nets."""
    module, is_population = module_of(cell), isinstance(cell, Population)
    layer, mode = module.input, WEIGHTS
    if isinstance(module, PlasticRNN):
        mode = INPUT_MODES[module.input_mode]
    if layer is None:
        nothing = Projection(arrays.of(None, 2), arrays.of(None, 1), mode)
        return [nothing] * (cell.n_nets if isinstance(cell, Population) else 1)
    weights = layer.weight if is_population else layer.weight.unsqueeze(0)
    biases = layer.bias if is_population else layer.bias.unsqueeze(0)
    return [
        Projection(arrays.of(weight.T, 2), arrays.of(bias, 1), mode)
        for weight, bias in zip(weights, biases, strict=True)
    ]


def _run_forward(
    kernel: Callable[..., None],
    nets: list[_Arrays],
    sources: list[Any],
    n_steps: int,
    state: NetState,
    segment_length: int,
) -> ForwardPass:
    """Run T steps from a state, with a kernel that reads the inputs of each net from a source."""
    (n_rows, n), arrays = state.hidden.shape, nets[0]
    n_gates = 4 * n if segment_length else 0
    n_checkpoints = -(-n_steps // segment_length) if segment_length else 0
    shape = (n_checkpoints, n_rows, *arrays.parameters.weight.shape)
    traces, eligibilities = _checkpoints(state.hidden, shape, arrays.kind.retroactive)
    found = ForwardPass(
        outputs=state.hidden.new_empty((n_steps, n_rows, n)),
        trace=_like(state.trace),
        eligibility=None if state.eligibility is None else _like(state.eligibility),
        modulation=state.hidden.new_empty((n_steps, n_rows)),
        checkpoints=(traces, eligibilities),
        segment_length=segment_length,
        gates=None if state.cell is None else state.cell.new_empty(n_steps, n_rows, n_gates),
        cells=None if state.cell is None else state.cell.new_empty(n_steps, n_rows, n),
    )
    before, out = arrays.state(state), arrays.all(found)
    arguments = [
        (net.parameters, net.options, source, before, out)
        for net, source in zip(nets, sources, strict=True)
    ]
    _run(kernel, arguments, _cuts(n_rows // len(nets), n_steps * n**2))
    return found


def _cuts(n_rows: int, row_work: int) -> np.ndarray:
    """Divide a net's rows into groups.

    Args:
        n_rows: the number of rows.
        row_work: the number of connection updates for each row.

    Returns:
        The first row of each group and, at last, ``n_rows``.
    """
    n_groups = max(1, min(n_rows, MOST_GROUPS, n_rows * row_work // GROUP_WORK))
    return np.array([n_rows * group // n_groups for group in range(n_groups + 1)])


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="plasticrl")


if hasattr(os, "register_at_fork"):  # a forked process does not have its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _run(kernel: Callable[..., None], nets: list[tuple[Any, ...]], cuts: np.ndarray) -> None:
    """Call the kernel for all groups of rows of all nets, in this thread and those of the pool.

    Args:
        nets: the arguments for the rows of each net, without the last three: cuts, first and last.
            The rows of the first net come first, and so on.
        cuts: those of the first net.
    """
    n_rows, n_groups, n_threads = cuts[-1], len(cuts) - 1, torch.get_num_threads()
    # One call takes all groups of a net if there is one thread. Otherwise it takes an eighth of a
    # thread's share, so that a thread that was interrupted can take fewer.
    size = n_groups if n_threads == 1 else max(1, n_groups * len(nets) // (8 * n_threads))
    calls = [
        (*arguments, cuts + number * n_rows, first, min(first + size, n_groups))
        for number, arguments in enumerate(nets)
        for first in range(0, n_groups, size)
    ]
    remaining = iter(calls)

    def work() -> None:
        for arguments in remaining:
            kernel(*arguments)

    others = [_pool().submit(work) for _ in range(min(n_threads, len(calls)) - 1)]
    try:
        work()
    finally:
        for _ in remaining:  # after an error, no thread begins another call
            pass
        for other in others:
            if not other.cancel():  # it has begun
                other.result()


def _checkpoints(
    hidden: Tensor, shape: tuple[int, ...], retroactive: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return uninitialized arrays for the checkpoints of the traces and of the eligibility traces.

    torch allocates them, because NumPy asks for huge pages, and the operating system fills these
    with zeros each time that it hands one out. That took 10 of 50 ms of a rollout (200 steps, 30
    mazes, N = 100) on a virtual machine.
    """
    traces = hidden.new_empty(shape)
    return traces.numpy(), _like(traces if retroactive else traces[:0]).numpy()


def _like(tensor: Tensor) -> Tensor:
    """Return an uninitialized tensor of the same shape in C order, into which kernels can write."""
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray((tensor.detach() if tensor.requires_grad else tensor).numpy())


def _padded(matrix: Tensor, pad: tuple[int, int]) -> np.ndarray:
    """Return a matrix padded with zeros to multiples of ``pad`` rows and columns."""
    rows, columns = matrix.shape
    return _array(F.pad(matrix.detach(), (0, -columns % pad[1], 0, -rows % pad[0])))
