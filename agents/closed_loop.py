"""A rollout on the CPU as one loop over policy and environments, compiled by Numba.

The loop is the forward pass of ``plasticrl.core.backends.numba_forward`` with one addition: after
each step of the core, it samples an action, steps the environment, and writes the next observation.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from plasticrl import envs
from plasticrl.agents.sampling import Heads, sample_action
from plasticrl.core.backends.numba_forward import (
    after_activity,
    begin_row,
    finish_row,
    keep_checkpoint,
    new_vectors,
    restart,
    update_and_product,
)
from plasticrl.core.backends.numba_step import Projection, add_inputs
from plasticrl.core.backends.numba_update import KERNEL, Kind, copy, products
from plasticrl.core.numba_cache import fingerprint, versioned
from plasticrl.envs.compiled.batch import CompiledBatch, observe, step

CODE = [
    *Path(envs.__file__).parent.rglob("*.py"),
    *(Path(__file__).with_name(name) for name in ("closed_loop.py", "sampling.py", "masking.py")),
]
FINGERPRINT = fingerprint(CODE)
"""A number that changes with the code that the loop uses, apart from the core's."""

JIT = {
    "nogil": True,
    "error_model": "numpy",
    "_nrt": False,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


class Records(NamedTuple):
    """The results of T steps in B environments, except observations and episode starts."""

    actions: np.ndarray
    """(T, B)."""
    rewards: np.ndarray
    """(T, B) float64."""
    terminated: np.ndarray
    """(T, B), true where an episode ended in a terminal state."""
    final_observations: np.ndarray
    """(T, B, F), written where an episode ends."""
    final_infos: np.ndarray
    """(T, B, K) int64, written where an episode ends."""
    is_finite: np.ndarray
    """(T, B), true where the core's output and the logits are finite."""

    @classmethod
    def allocate(cls, n_steps: int, n_rows: int, n_features: int, n_infos: int) -> "Records":
        """Return arrays of these sizes, with arbitrary numbers."""
        return cls(
            actions=np.empty((n_steps, n_rows), np.int64),
            rewards=np.empty((n_steps, n_rows)),
            terminated=np.empty((n_steps, n_rows), bool),
            final_observations=np.empty((n_steps, n_rows, n_features), np.float32),
            final_infos=np.empty((n_steps, n_rows, n_infos), np.int64),
            is_finite=np.empty((n_steps, n_rows), bool),
        )


class ActingLoop(NamedTuple):
    """A policy that acts for T steps in B environments."""

    projection: Projection
    inputs: np.ndarray
    """The observations, (T + 1, B, F) float32."""
    starts: np.ndarray
    """(T + 1, B), true where an observation is the first of an episode."""
    heads: Heads
    environments: CompiledBatch
    records: Records
    uniforms: np.ndarray
    """(T, B) from [0, 1)."""
    scratch: np.ndarray
    """(B, 2, W), working memory from ``Heads.scratch``."""
    all_possible: np.ndarray
    """(0,), an empty action mask: all actions are possible."""


@njit(**JIT)
def _act(loop, activity, t, b):
    """Sample an action for the core's output at step t in row b, and step the environment."""
    records, environments = loop.records, loop.environments
    action = sample_action(
        loop.heads, activity, loop.all_possible, loop.uniforms[t, b], loop.scratch[b]
    )
    records.is_finite[t, b] = action >= 0
    action = max(action, 0)
    final = records.final_observations[t, b]
    reward, terminated, truncated = step(environments, b, action, final, records.final_infos[t, b])
    records.actions[t, b] = action
    records.rewards[t, b] = reward
    records.terminated[t, b] = terminated
    loop.starts[t + 1, b] = terminated or truncated
    observe(environments, b, loop.inputs[t + 1, b])


@functools.cache
def compiled_loop(kind: Kind):
    """Return the loop for a kind of update. Numba compiles it on first use.

    The arguments are those of the loop that ``compiled_forward`` returns, with ``loop``, an
    ``ActingLoop``, in place of ``inputs``.
    """

    @njit(**KERNEL)
    @versioned(kind.fingerprint ^ FINGERPRINT)
    def run(parameters, options, loop, state, out, cuts, first, last):
        steps, _, n = out.outputs.shape
        shape, dtype = parameters.weight.shape, parameters.weight.dtype
        H, E = np.zeros(shape, dtype), np.zeros(shape, dtype)
        v = new_vectors(kind, shape[1], n, dtype)
        for b in range(cuts[first], cuts[last]):
            begin_row(kind, state, H, E, v, b, n)
            for t in range(steps + 1):  # the last pass only computes the update
                if t < steps and loop.starts[t, b]:
                    restart(kind, H, E, v, n)
                if t == 0:
                    products(v.total, parameters, H, v.pre, n)
                else:
                    update_and_product(kind, parameters, options, H, E, v)
                if t < steps:
                    keep_checkpoint(kind, out, H, E, t, b)
                    copy(v.post, v.total, n)
                    add_inputs(kind, v, parameters, loop.projection, loop.inputs[t, b], n)
                    after_activity(kind, v, parameters, options, out, t, b, n)
                    _act(loop, out.outputs[t, b], t, b)
            finish_row(kind, out, H, E, b, n)

    return run
