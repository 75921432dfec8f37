"""The fused backend's loops on the CPU: numba's, over NumPy's view of the tensors.

Batch rows are divided among ``torch.get_num_threads()`` Python threads, in which numba's compiled
loops run without the interpreter's lock: no second OpenMP pool spins beside torch's. The division
depends on the sizes and the number of threads alone, so results are bit-identical from run to run.
"""

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import increment_version

from plasticrl.core.backends.kernels import (
    ADDITIVE,
    CLAMPED,
    LINEAR,
    NO_MODULATION,
    PAD,
    SIGMOID,
    TANH,
    TOGETHER,
    WEIGHTS,
    compiled,
)
from plasticrl.core.backends.plastic_net import Drive, ForwardPass, Gradients, PlasticNet, Saved
from plasticrl.core.cells.plastic_rnn import PlasticRNN, PlasticRNNState
from plasticrl.core.state import leaves, map_leaves

ACTIVATIONS = {"tanh": TANH, "sigmoid": SIGMOID, "linear": LINEAR}

INPUT_MODES = {"weights": WEIGHTS, "additive": ADDITIVE, "clamped": CLAMPED}

THREAD_WORK = 500_000
"""Connections passed over for which another thread is worth waking, some 0.2 ms."""


class NumbaKernels:
    """The loops for tensors on the CPU; see ``Kernels``."""

    def rows_at_once(self, n_steps: int, n_rows: int, n: int, device: torch.device) -> int:
        return len(_groups(n_rows, n_steps * n**2))

    def forward(
        self, net: PlasticNet, drive: Drive, state: PlasticRNNState, spacing: int
    ) -> ForwardPass:
        arrays = _Arrays(net)
        n_steps, n_rows, n = drive.drive.shape
        n_kept = -(-n_steps // spacing) if spacing else 0
        kept = np.empty((n_kept, n_rows, *arrays.arguments[0][0].shape), arrays.dtype)
        kept_e = np.empty_like(kept if net.retroactive else kept[:0])
        outputs, signal = _like(drive.drive), np.empty((n_steps, n_rows), arrays.dtype)
        final = _like(state.trace)
        final_e = None if state.eligibility is None else _like(state.eligibility)
        before = (_array(state.hidden), _array(state.trace), arrays.of(state.eligibility, 3))
        out = (_array(outputs), signal, kept, kept_e, _array(final), arrays.of(final_e, 3), spacing)
        fixed = (*arrays.arguments, drive.mask is not None, _array(drive.drive))
        clamped_and_starts = (_bools(drive.mask, 3), _array(drive.starts))
        groups = _groups(n_rows, n_steps * n**2)
        _in_threads(arrays.kernels[1], groups, *fixed, *clamped_and_starts, before, out)
        modulation = torch.from_numpy(signal)
        return ForwardPass(outputs, final, final_e, modulation, (kept, kept_e), spacing)

    def backward(
        self, net: PlasticNet, saved: Saved, g_outputs: Tensor, g_state: PlasticRNNState
    ) -> Gradients:
        arrays, x = _Arrays(net), _array(saved.outputs)
        signal = saved.modulation.numpy()
        groups = _groups(x.shape[1], len(x) * x.shape[2] ** 2)
        d_drive, d_rate, d_signal = np.empty_like(x), np.empty_like(x), np.zeros_like(signal)
        d_alpha = np.zeros((len(groups), *arrays.arguments[0][1].shape), arrays.dtype)
        d_eta = np.zeros((len(groups), 1), arrays.dtype)
        g_hidden, g_trace, g_eligibility = g_state
        upstream_e = arrays.of(g_eligibility if net.retroactive else None, 3)
        upstream = (_array(g_outputs), _array(g_hidden), _array(g_trace), upstream_e)
        d_hidden, d_trace, d_eligibility = (np.empty_like(leaf) for leaf in upstream[1:])
        clamped_and_starts = (saved.mask is not None, _bools(saved.mask, 3), _array(saved.starts))
        _in_threads(
            *(arrays.kernels[2], groups, *arrays.arguments, *clamped_and_starts),
            *(_array(saved.hidden), (x, signal, *saved.checkpoints, saved.spacing), upstream),
            (d_drive, d_rate, d_signal, d_alpha, d_eta, d_hidden, d_trace, d_eligibility),
        )
        return Gradients(
            drive=torch.from_numpy(d_drive),
            rate=torch.from_numpy(d_rate),
            modulator_drive=torch.from_numpy(d_signal),
            hidden=torch.from_numpy(d_hidden),
            trace=torch.from_numpy(d_trace),
            eligibility=torch.from_numpy(d_eligibility) if net.retroactive else None,
            alpha=torch.from_numpy(d_alpha.sum(axis=0)[: x.shape[2], : x.shape[2]].copy()),
            eta=torch.from_numpy(d_eta.sum(axis=0)),
        )

    def stepper(
        self, cell: PlasticRNN, state: PlasticRNNState, n_steps: int, spacing: int
    ) -> "NumbaStepper":
        return NumbaStepper(cell, state, n_steps, spacing)


class NumbaStepper:
    """Takes steps, and records the first ``n_steps`` of them; see ``KernelStepper``."""

    def __init__(
        self, cell: PlasticRNN, state: PlasticRNNState, n_steps: int, spacing: int
    ) -> None:
        arrays = _Arrays(PlasticNet.of(cell.connection), pad=(1, 1))
        layer = (None, None) if cell.input is None else (cell.input.weight.T, cell.input.bias)
        projection = (arrays.of(layer[0], 2), arrays.of(layer[1], 1))
        self._fixed = (*arrays.arguments, INPUT_MODES[cell.input_mode], projection)
        self._kernel = arrays.kernels[0]
        n_rows, n = state.hidden.shape
        self._state = state
        self._arrays = (
            _array(state.hidden),
            _array(state.trace),
            arrays.of(state.eligibility, 3),
        )
        self._counted = [leaf for leaf in leaves(state) if not leaf.is_inference()]
        self._groups, self._no_starts = _groups(n_rows, n**2), np.zeros(n_rows, bool)
        empty = arrays.of(None, 3)
        self._unrecorded = (np.empty(n_rows, arrays.dtype), empty, empty)
        self._record = _Record(state, n_steps, spacing) if n_steps else None

    def __call__(self, inputs: Tensor, episode_starts: Tensor | None) -> Tensor:
        starts = self._no_starts if episode_starts is None else _array(episode_starts)
        record = self._record
        recording = record is not None and record.n_taken < record.n_steps
        to = record.next_step() if record is not None and recording else self._unrecorded
        step = (_array(inputs), starts, self._arrays, to)
        _in_threads(self._kernel, self._groups, *self._fixed, *step)
        increment_version(self._counted)
        if record is not None and recording:
            record.add(self._state)
        return torch.from_numpy(self._arrays[0].copy())

    def take_recorded(self) -> ForwardPass | None:
        record, self._record = self._record, None
        return None if record is None else record.as_forward_pass()


class _Record:
    """What the backward pass needs of T steps.

    Args:
        state: the state that the steps change.
        n_steps: T.
        spacing: steps G from one kept trace to the next.
    """

    def __init__(self, state: PlasticRNNState, n_steps: int, spacing: int) -> None:
        hidden = state.hidden.detach().numpy()
        (n_rows, n), dtype = hidden.shape, hidden.dtype
        self.n_steps, self.n_taken, self._spacing = n_steps, 0, spacing
        self._outputs = np.empty((n_steps, n_rows, n), dtype)
        self._modulation = np.empty((n_steps, n_rows), dtype)
        padded = (n_rows, n + -n % TOGETHER, n + -n % PAD)
        self._traces = np.empty((-(-n_steps // spacing), *padded), dtype)
        self._traces[..., n:, :] = self._traces[..., n:] = 0
        retroactive = state.eligibility is not None
        self._eligibilities = (self._traces if retroactive else self._traces[:0]).copy()
        self._empty = np.empty((0, 0, 0), dtype)
        self._final: PlasticRNNState | None = None

    def next_step(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the next step writes M (B,), and H and E before it, which may be of size 0."""
        t = self.n_taken
        if t % self._spacing:
            return self._modulation[t], self._empty, self._empty
        k = t // self._spacing
        eligibility = self._eligibilities[k] if len(self._eligibilities) else self._empty
        return self._modulation[t], self._traces[k], eligibility

    def add(self, state: PlasticRNNState) -> None:
        """Note the state after that step."""
        self._outputs[self.n_taken] = state.hidden.detach().numpy()
        self.n_taken += 1
        if self.n_taken == self.n_steps:
            self._final = map_leaves(lambda leaf: leaf.detach().clone(), state)

    def as_forward_pass(self) -> ForwardPass:
        """The T steps, all of which have been taken."""
        assert self._final is not None
        return ForwardPass(
            outputs=torch.from_numpy(self._outputs),
            trace=self._final.trace,
            eligibility=self._final.eligibility,
            modulation=torch.from_numpy(self._modulation),
            checkpoints=(self._traces, self._eligibilities),
            spacing=self._spacing,
        )


class _Arrays:
    """A plastic net as the kernels read it."""

    def __init__(self, net: PlasticNet, pad: tuple[int, int] = (TOGETHER, PAD)) -> None:
        self.dtype = _array(net.weight).dtype
        plasticity = net.plasticity
        rate = 0.0 if net.eta is None else net.eta.item()
        decay, oja = plasticity.bound == "decay", plasticity.rule == "oja"
        self.kernels = compiled(plasticity.bound == "soft", net.retroactive, decay or oja)
        options = (net.trace_limit, decay, oja, rate)
        modulated = plasticity.modulation != "none"
        modulator = (
            *(net.modulator_weight, net.modulator_bias),
            *(net.fan_out_weight, net.fan_out_bias),
        )
        matrices = (_padded(net.weight, pad), _padded(net.alpha, pad))
        self.arguments = (
            (*matrices, tuple(self.of(parameter, 1) for parameter in modulator)),
            tuple(self.dtype.type(option) for option in options),
            ACTIVATIONS[plasticity.modulator_activation] if modulated else NO_MODULATION,
        )

    def of(self, tensor: Tensor | None, n_axes: int) -> np.ndarray:
        """The tensor's numbers with ``n_axes`` axes, none of them where there is no tensor."""
        if tensor is None:
            return np.zeros((0,) * n_axes, self.dtype)
        return _array(tensor).ravel() if n_axes == 1 else _array(tensor)


def _groups(n_rows: int, row_work: int) -> list[tuple[int, int]]:
    """Rows [first, last) of every thread; ``row_work`` connections are passed over in a row."""
    worthwhile = 1 + n_rows * row_work // THREAD_WORK
    count = max(1, min(n_rows, torch.get_num_threads(), worthwhile))
    cuts = [n_rows * group // count for group in range(count + 1)]
    return list(itertools.pairwise(cuts))


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="plasticrl")


if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _in_threads(
    kernel: Callable[..., None], groups: list[tuple[int, int]], *arguments: Any
) -> None:
    """Run the kernel on all rows: the first group here, the others in threads beside it."""
    first, *others = enumerate(groups)
    futures = [
        _pool(len(others)).submit(kernel, *arguments, group, *rows) for group, rows in others
    ]
    kernel(*arguments, first[0], *first[1])
    for future in futures:
        future.result()


def _like(tensor: Tensor) -> Tensor:
    """An empty one in C order, whatever the order of this one: the kernels write to it."""
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray((tensor.detach() if tensor.requires_grad else tensor).numpy())


def _bools(mask: Tensor | None, n_axes: int) -> np.ndarray:
    """The mask as booleans, or nothing at all."""
    return np.zeros((0,) * n_axes, bool) if mask is None else _array(mask)


def _padded(matrix: Tensor, pad: tuple[int, int]) -> np.ndarray:
    """Filled up with zeros to multiples of ``pad`` rows and columns."""
    rows, columns = matrix.shape
    return _array(F.pad(matrix.detach(), (0, -columns % pad[1], 0, -rows % pad[0])))
