"""The fused CPU backend: a whole sequence as one differentiable function.

What is stored is the activity and every ~sqrt(T)-th trace; the backward pass recomputes the traces
in between and runs the step's recursions in reverse, derived by hand as in BOHP 2016 (arXiv
1609.02228). Memory is B sqrt(T) N^2 numbers instead of several times B T N^2.

Batch rows are divided among ``torch.get_num_threads()`` Python threads, in which numba's compiled
loops run without the interpreter's lock: no second OpenMP pool spins beside torch's. The division
depends on the sizes and the number of threads alone, so results are bit-identical from run to run.
"""

import itertools
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from plasticrl.core.backends.kernels import (
    ADDITIVE,
    CLAMPED,
    LINEAR,
    NO_MODULATION,
    PAD,
    SIGMOID,
    TANH,
    WEIGHTS,
    compiled,
)
from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.plastic_rnn import PlasticRNN, PlasticRNNState
from plasticrl.core.connection import PlasticConnection
from plasticrl.core.plasticity import Plasticity
from plasticrl.core.state import leaves

ACTIVATIONS = {"tanh": TANH, "sigmoid": SIGMOID, "linear": LINEAR}

LIMITS = {"hard": None, "soft": 1.0, "decay": math.inf, "none": math.inf}
"""Largest absolute trace; None: the chosen ``clip``."""

INPUT_MODES = {"weights": WEIGHTS, "additive": ADDITIVE, "clamped": CLAMPED}

THREAD_WORK = 500_000
"""Connections passed over for which another thread is worth waking, some 0.2 ms."""

Parameters = tuple[Tensor | None, ...]
"""weight (N, N), alpha (N, N), eta (1,), and the modulator's weight (1, N), bias (1,), fan-out
weight (N, 1) and fan-out bias (N,); None where there is none."""


def supports(cell: Cell[Any], inputs: Tensor) -> bool:
    """Whether ``run`` can run the cell on these inputs: exactly what its loops are written for."""
    if type(cell) is not PlasticRNN or type(cell.connection) is not PlasticConnection:
        return False
    plasticity = cell.connection.plasticity
    if plasticity.rule not in ("hebb", "oja") or plasticity.bound not in LIMITS:
        return False
    weight = cell.connection.weight
    on_cpu = inputs.device.type == "cpu" and weight.device.type == "cpu"
    return (
        on_cpu and inputs.dtype == weight.dtype and weight.dtype in (torch.float32, torch.float64)
    )


def run(
    cell: Cell[Any], inputs: Tensor, state: Any, episode_starts: Tensor | None
) -> tuple[Tensor, Any]:
    """Outputs (T, B, N) and final state; arguments as ``plasticrl.core.sequence``, checked."""
    assert isinstance(cell, PlasticRNN)
    connection = cell.connection
    drive, mask = cell.project(inputs), None
    if cell.input_mode == "clamped":
        drive, given = drive.chunk(2, dim=2)
        mask = given != 0
    outputs, hidden, *traces = _Sequence.apply(  # type: ignore[no-untyped-call]
        *(connection.plasticity, torch.is_grad_enabled(), episode_starts, mask, drive),
        *(*state, *_parameters(connection)),
    )
    return outputs, PlasticRNNState(hidden, *traces)


def stepper(cell: Cell[Any], state: Any) -> Callable[[Tensor, Tensor | None], Tensor]:
    """A function that advances ``state``; as ``plasticrl.core.stepper``, checked.

    Raises:
        ValueError: for a state that is not contiguous.
    """
    assert isinstance(cell, PlasticRNN)
    if not all(leaf.is_contiguous() for leaf in leaves(state)):
        raise ValueError("a state that is not contiguous cannot be changed in place")
    net = _Net(cell.connection.plasticity, _parameters(cell.connection), pad=1)
    layer = (None, None) if cell.input is None else (cell.input.weight, cell.input.bias)
    projection = (net.array(layer[0], 2), net.array(layer[1], 1))
    fixed = (*net.arguments, INPUT_MODES[cell.input_mode], projection)
    arrays = (_array(state.hidden), _array(state.trace), net.array(state.eligibility, 3))
    n_rows, hidden = len(state.hidden), state.hidden
    groups, nowhere = _groups(n_rows, net.n**2), np.zeros(n_rows, bool)

    def advance(inputs: Tensor, episode_starts: Tensor | None) -> Tensor:
        starts = nowhere if episode_starts is None else _array(episode_starts)
        _in_threads(net.kernels[0], groups, *fixed, _array(inputs), starts, arrays)
        outputs: Tensor = hidden.clone()
        return outputs

    return advance


def _parameters(connection: PlasticConnection) -> Parameters:
    modulator = connection.modulator
    fan_out = None if modulator is None else modulator.fan_out
    return (
        connection.weight,
        connection.alpha.expand_as(connection.weight),
        connection.eta,
        None if modulator is None else modulator.weight,
        None if modulator is None else modulator.bias,
        None if fan_out is None else fan_out.weight,
        None if fan_out is None else fan_out.bias,
    )


class _Net:
    """A plastic net as the kernels read it."""

    def __init__(self, plasticity: Plasticity, parameters: Parameters, pad: int = PAD) -> None:
        weight, alpha, eta, *modulator = parameters
        assert weight is not None
        assert alpha is not None
        self.n = len(weight)
        self.dtype = _array(weight).dtype
        self.retroactive = plasticity.modulation == "retroactive"
        self.kernels = compiled(plasticity.bound == "soft", self.retroactive)
        limit = LIMITS[plasticity.bound]
        rate = 0.0 if eta is None else eta.item()
        decay, oja = plasticity.bound == "decay", plasticity.rule == "oja"
        options = (plasticity.clip if limit is None else limit, decay, oja, rate)
        modulated = plasticity.modulation != "none"
        self.arguments = (
            (_padded(weight, pad), _padded(alpha, pad), tuple(self.array(m, 1) for m in modulator)),
            tuple(self.dtype.type(option) for option in options),
            ACTIVATIONS[plasticity.modulator_activation] if modulated else NO_MODULATION,
        )

    def array(self, tensor: Tensor | None, n_axes: int) -> np.ndarray:
        """The tensor's numbers with ``n_axes`` axes, none of them where there is no tensor."""
        if tensor is None:
            return np.zeros((0,) * n_axes, self.dtype)
        return _array(tensor).ravel() if n_axes == 1 else _array(tensor)


class _Sequence(torch.autograd.Function):
    """outputs, hidden, trace, eligibility = f(drive, state, parameters)."""

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx, plasticity, learns, starts, mask, drive, hidden, trace, eligibility, *parameters
    ):
        net = _Net(plasticity, parameters)
        n_steps, n_rows, _n = drive.shape
        every = max(1, round(math.sqrt(n_steps))) if learns else 0
        n_kept = -(-n_steps // every) if every else 0
        kept = np.empty((n_kept, n_rows, *net.arguments[0][0].shape), net.dtype)
        kept_e = np.empty_like(kept if net.retroactive else kept[:0])
        outputs, signal = torch.empty_like(drive), np.empty((n_steps, n_rows), net.dtype)
        final = torch.empty_like(trace)
        final_e = None if eligibility is None else torch.empty_like(eligibility)
        clamp_and_starts = (_bools(mask, 3), _bools(starts, 2, (n_steps, n_rows)))
        state = (_array(hidden), _array(trace), net.array(eligibility, 3))
        x = _array(outputs)
        out = (x, signal, kept, kept_e, _array(final), net.array(final_e, 3), every)
        fixed = (*net.arguments, mask is not None)
        groups = _groups(n_rows, n_steps * net.n**2)
        _in_threads(net.kernels[1], groups, *fixed, _array(drive), *clamp_and_starts, state, out)
        if every:
            ctx.save_for_backward(outputs, hidden, mask, *parameters)
            ctx.net, ctx.starts = net, clamp_and_starts[1]
            ctx.kept = (signal, kept, kept_e, every)
        return outputs, outputs[-1].clone(), final, final_e

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g_outputs, g_hidden, g_trace, g_eligibility):  # type: ignore[no-untyped-def]
        outputs, hidden, mask, *parameters = ctx.saved_tensors
        net, x, (signal, *_) = ctx.net, _array(outputs), ctx.kept
        groups = _groups(x.shape[1], len(x) * net.n**2)
        d_drive, d_rate, d_signal = np.empty_like(x), np.empty_like(x), np.zeros_like(signal)
        d_alpha = np.zeros((len(groups), *net.arguments[0][1].shape), net.dtype)
        d_eta = np.zeros((len(groups), 1), net.dtype)
        d_hidden, d_trace = np.empty_like(x[0]), np.empty_like(_array(g_trace))
        upstream_e = net.array(g_eligibility if net.retroactive else None, 3)
        d_state = (d_hidden, d_trace, np.empty_like(upstream_e))
        upstream = (_array(g_outputs), _array(g_hidden), _array(g_trace), upstream_e)
        fixed = (*net.arguments, mask is not None, _bools(mask, 3), ctx.starts, _array(hidden))
        _in_threads(
            net.kernels[2],
            groups,
            *(*fixed, (x, *ctx.kept), upstream),
            (d_drive, d_rate, d_signal, d_alpha, d_eta, *d_state),
        )
        g_drive, g_rate, g_signal = map(torch.from_numpy, (d_drive, d_rate, d_signal))
        through_weights = g_drive if mask is None else g_drive.masked_fill(mask, 0)
        before = torch.cat([hidden.unsqueeze(0), outputs[:-1]])
        before = before.masked_fill(torch.from_numpy(ctx.starts).unsqueeze(2), 0)
        g_weight = through_weights.flatten(0, 1).T @ before.flatten(0, 1)
        g_alpha = torch.from_numpy(d_alpha.sum(axis=0)[:, : net.n].copy())
        _, _, eta, modulator, _, fan_out, _ = parameters
        g_eta = torch.from_numpy(d_eta.sum(axis=0)) if net.retroactive else g_rate.sum().view(1)
        return (
            *(None, None, None, None, g_drive if mask is None else g_drive.masked_fill(~mask, 0)),
            *(torch.from_numpy(d_hidden), torch.from_numpy(d_trace)),
            torch.from_numpy(d_state[2]) if net.retroactive else None,
            *(g_weight, g_alpha, None if eta is None else g_eta),
            *(_modulator_gradients(g_signal, outputs) if modulator is not None else (None, None)),
            *(_fan_out_gradients(g_rate, signal) if fan_out is not None else (None, None)),
        )


def _modulator_gradients(g_signal: Tensor, activity: Tensor) -> tuple[Tensor, Tensor]:
    """Of weight (1, N) and bias (1,), from what the modulator gave (T, B) and read (T, B, N)."""
    return g_signal.reshape(1, -1) @ activity.flatten(0, 1), g_signal.sum().view(1)


def _fan_out_gradients(g_rate: Tensor, signal: np.ndarray) -> tuple[Tensor, Tensor]:
    """Of weight (N, 1) and bias (N,), from the rates (T, B, N) and the modulation (T, B)."""
    g_rate = g_rate.flatten(0, 1)
    return g_rate.T @ torch.from_numpy(signal).view(-1, 1), g_rate.sum(dim=0)


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


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().contiguous().numpy()
    return array


def _bools(tensor: Tensor | None, n_axes: int, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """The tensor as booleans; without one, all false in ``shape``, or nothing at all."""
    return np.zeros(shape or (0,) * n_axes, bool) if tensor is None else _array(tensor)


def _padded(matrix: Tensor, pad: int) -> np.ndarray:
    """Rows filled up with zeros to a multiple of ``pad``."""
    missing = -matrix.shape[1] % pad
    return _array(F.pad(matrix.detach(), (0, missing)) if missing else matrix)
