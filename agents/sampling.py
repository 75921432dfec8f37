"""Computes logits from the core's output and samples actions, compiled by Numba.

In torch, this would take longer than the rest of the step of a small net.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit
from torch import Tensor

from plasticrl.agents import masking
from plasticrl.agents.masking import IMPOSSIBLE
from plasticrl.core.backends import numba_update
from plasticrl.core.backends.numba_update import tanh
from plasticrl.core.numba_cache import CAN_CACHE, fingerprint, versioned

FINGERPRINT = fingerprint(
    [Path(__file__), Path(masking.__file__), *Path(numba_update.__file__).parent.glob("numba_*.py")]
)
JIT = {"nogil": True, "fastmath": {"reassoc", "contract"}}
# Python calls only ``sample_actions``: the others are compiled without a wrapper for it.
INNER = {**JIT, "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class Heads(NamedTuple):
    """The layers between the core and the logits of the actions.

    All layers are in one array, padded with zeros, so that Numba compiles one loop for any number
    of layers.
    """

    weight: np.ndarray
    """(L, I, U): layers, inputs, units."""
    bias: np.ndarray
    """(L, U)."""
    sizes: np.ndarray
    """(L + 1,): the size of the core's output, and of the output of each layer."""
    is_relu: bool
    """Whether the activation between two layers is ReLU; it is tanh otherwise."""

    @classmethod
    def of(cls, layers: Sequence[tuple[Tensor, Tensor]], is_relu: bool = False) -> "Heads":
        """Copy the weights (O, I) and biases (O,) of linear layers."""
        arrays = [(w.detach().numpy(), b.detach().numpy()) for w, b in layers]
        sizes = [arrays[0][0].shape[1], *(len(b) for _, b in arrays)]
        dtype = arrays[0][1].dtype
        weight = np.zeros((len(layers), max(sizes[:-1]), max(sizes[1:])), dtype)
        bias = np.zeros((len(layers), max(sizes[1:])), dtype)
        for number, (w, b) in enumerate(arrays):
            n_units, n_inputs = w.shape
            weight[number, :n_inputs, :n_units] = w.T
            bias[number, :n_units] = b
        return cls(weight, bias, np.array(sizes), is_relu)

    def scratch(self, *shape: int) -> np.ndarray:
        """Return an uninitialized array (..., 2, W), large enough for every layer's outputs."""
        return np.empty((*shape, 2, self.sizes.max()), self.weight.dtype)


@njit(**INNER)
def set_logits(heads, latent, scratch):
    """Compute logits, and write them to the first row of ``scratch`` (2, W).

    Args:
        latent: (N,), the core's output.
    """
    n_layers = len(heads.weight)
    for i in range(heads.sizes[0]):
        scratch[n_layers % 2, i] = latent[i]
    for layer in range(n_layers):
        n_in, n_out = heads.sizes[layer], heads.sizes[layer + 1]
        inputs, outputs = scratch[(n_layers - layer) % 2], scratch[(n_layers - layer - 1) % 2]
        for unit in range(n_out):
            outputs[unit] = heads.bias[layer, unit]
        for i in range(n_in):
            x = inputs[i]
            for unit in range(n_out):
                outputs[unit] += heads.weight[layer, i, unit] * x
        if layer < n_layers - 1 and not heads.is_relu:
            tanh(outputs, n_out)
        elif layer < n_layers - 1:
            for unit in range(n_out):
                outputs[unit] = max(outputs[unit], outputs.dtype.type(0))


@njit(**INNER)
def choose(logits, n_actions, uniform):
    """Draw an action with the probabilities softmax(logits); return -1 if one is not finite.

    The action is the first whose cumulative probability exceeds ``uniform``, from [0, 1).
    ``logits`` is overwritten.
    """
    highest = logits[0]
    for a in range(1, n_actions):
        highest = max(highest, logits[a])
    total = logits.dtype.type(0)
    for a in range(n_actions):
        total += np.exp(logits[a] - highest)
        logits[a] = total
    if not np.isfinite(total):
        return -1
    action = 0
    while action < n_actions - 1 and logits[action] <= uniform * total:
        action += 1
    return action


@njit(**INNER)
def sample_action(heads, latent, mask, uniform, scratch):
    """Draw an action; return -1 if the core's output or a logit is not finite.

    Args:
        latent: (N,), the core's output.
        mask: (A,), true where an action is possible; (0,) if all are.
        uniform: from [0, 1).
        scratch: (2, W), which is overwritten.
    """
    size = latent.dtype.type(0)
    for i in range(len(latent)):  # tanh(inf) is 1, so the logits would be finite
        size += abs(latent[i])
    if not np.isfinite(size):
        return -1
    set_logits(heads, latent, scratch)
    for a in range(len(mask)):
        if not mask[a]:
            scratch[0, a] = latent.dtype.type(IMPOSSIBLE)
    return choose(scratch[0], heads.sizes[-1], uniform)


@njit(**JIT, cache=CAN_CACHE)
@versioned(FINGERPRINT)
def sample_actions(heads, latent, masks, uniforms, scratch):
    """Draw actions (B,). If an output or a logit of any row is not finite, all actions are -1.

    Args:
        latent: (B, N), the core's outputs.
        masks: (B, A), true where an action is possible; (B, 0) if all are.
        uniforms: (B,) from [0, 1).
        scratch: (2, W), which is overwritten.
    """
    actions = np.empty(len(latent), np.int64)
    for b in range(len(latent)):
        actions[b] = sample_action(heads, latent[b], masks[b], uniforms[b], scratch)
        if actions[b] < 0:
            actions[:] = -1
            break
    return actions
