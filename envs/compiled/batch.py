"""One step of one row of a ``BatchEnv``, compiled by Numba.

``plasticrl.envs.batch`` is the specification: a compiled row has the same numbers, bit for bit.
A loop over the steps of a row can then run without Python, and loops over rows in threads.

An environment has a NamedTuple of its tables and options, and five functions, as overloads of those
below for that class. Where the specification has arrays of random numbers, here ``uniform`` draws
one of them.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, types

from plasticrl.envs.arrays import HostArray
from plasticrl.envs.batch import Rows
from plasticrl.envs.counter_random import EVENT, GOLDEN, MULTIPLIERS

JIT = {
    "nogil": True,
    "error_model": "numpy",
    "_nrt": False,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
"""No ``fastmath``, which would change the bits; no wrappers, because Python calls no function."""

_FIRST, _SECOND = MULTIPLIERS


class CompiledBatch(NamedTuple):
    """A batch of B environments."""

    env: Any
    """The tables and options of all rows, in a NamedTuple whose class chooses the functions."""
    rows: Rows
    """Arrays (B,)."""
    world: Any
    """The environment's part of the state, a NamedTuple of arrays (B, ...)."""
    time_limit: int
    """Steps after which an episode is truncated."""
    episode_length: float
    """Steps by which the observed time is divided."""
    n_actions: int
    n_infos: int
    """The number of values that ``write_info`` writes."""

    def leaves(self) -> list[HostArray]:
        """Return all arrays of the state, in the order of ``State.leaves``."""
        return [*self.rows, *self.world]


def begin(env, world, b, key, counter):
    """Begin a new episode in row b."""


def advance(env, world, b, action, key, counter):
    """Take one step in row b, and return the reward."""


def is_terminal(env, world, b):
    """Return whether row b is in a terminal state."""


def write_view(env, rows, world, b, out):
    """Write an observation into ``out``; return the index of the time, before the reward's."""


def write_info(env, world, b, out):
    """Write the values of ``episode_info`` of row b into ``out`` (K,)."""


def is_tuple_of(numba_type: types.Type, form: type[Any]) -> bool:
    """Return whether a type of numba is that of a NamedTuple of the class ``form``."""
    return isinstance(numba_type, types.BaseNamedTuple) and numba_type.instance_class is form


@njit(**JIT)
def _shift(bits, places):
    """Shift right, filling with zeros."""
    return (bits >> places) & ((np.int64(1) << (64 - places)) - 1)


@njit(**JIT)
def uniform(key, counter, i):
    """Draw number i, from 0, of an event; see ``counter_random``."""
    bits = key + counter * np.int64(EVENT) + np.int64(i + 1) * np.int64(GOLDEN)
    bits = (bits ^ _shift(bits, 30)) * np.int64(_FIRST)
    bits = (bits ^ _shift(bits, 27)) * np.int64(_SECOND)
    bits = bits ^ _shift(bits, 31)
    return np.float64(bits & np.int64((1 << 53) - 1)) * 2.0**-53


@njit(**JIT)
def integer(uniform, n):
    """Turn a number in [0, 1) into an integer in 0 .. n - 1."""
    return np.int64(uniform * n)


@njit(**JIT)
def observe(batch, b, out):
    """Write what the agent of row b observes into ``out`` (F,)."""
    rows = batch.rows
    place = write_view(batch.env, rows, batch.world, b, out)
    out[place] = rows.steps[b] / batch.episode_length
    out[place + 1] = rows.previous_reward[b]


@njit(**JIT)
def step(batch, b, action, final_observation, final_info):
    """Take one step in row b, and begin a new episode if one ends.

    Returns:
        The reward, and whether the episode was terminated and whether it was truncated. In either
        case, ``final_observation`` (F,) and ``final_info`` (K,) are written before the new episode.
    """
    env, rows, world = batch.env, batch.rows, batch.world
    key, counter = rows.key[b], rows.counter[b]
    reward = advance(env, world, b, action, key, counter)
    counter += 1
    rows.steps[b] += 1
    rows.previous_action[b] = action
    rows.previous_reward[b] = reward
    terminated = is_terminal(env, world, b)
    truncated = rows.steps[b] >= batch.time_limit
    if terminated or truncated:
        observe(batch, b, final_observation)
        write_info(env, world, b, final_info)
        begin(env, world, b, key, counter)
        counter += 1
        rows.steps[b] = 0
        rows.previous_action[b] = batch.n_actions
        rows.previous_reward[b] = 0.0
    rows.counter[b] = counter
    return reward, terminated, truncated
