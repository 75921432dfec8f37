"""``BanditBatch``, compiled; see ``plasticrl.envs.bandit``."""

from typing import NamedTuple

import numpy as np
from numba.extending import overload

from plasticrl.envs.bandit import N_RECENT, TIME, BanditBatch
from plasticrl.envs.compiled.batch import (
    JIT,
    advance,
    begin,
    integer,
    is_terminal,
    is_tuple_of,
    uniform,
    write_info,
    write_view,
)


class Arms(NamedTuple):
    """The tables and options of all rows."""

    views: np.ndarray
    n_arms: int
    independent: bool
    pair_probability: float
    """0: there is none."""


def arms_of(batch: BanditBatch) -> Arms:
    """Return the tables and options of a batch."""
    independent = batch.arms == "independent"
    return Arms(batch._views, batch.n_arms, independent, float(batch.pair_probability or 0))


@overload(begin, jit_options=JIT)
def _begin(env, world, b, key, counter):
    if not is_tuple_of(env, Arms):
        return None

    def with_arms(env, world, b, key, counter):
        probabilities = world.probabilities[b]
        first = uniform(key, counter, 0)
        if env.independent:
            for arm in range(env.n_arms):
                probabilities[arm] = uniform(key, counter, arm)
        elif env.pair_probability == 0:
            probabilities[0], probabilities[1] = first, 1.0 - first
        else:
            better = integer(first, 2)
            probabilities[better] = env.pair_probability
            probabilities[1 - better] = 1.0 - env.pair_probability
        for i in range(N_RECENT):
            world.recent[b, i] = -1

    return with_arms


@overload(advance, jit_options=JIT)
def _advance(env, world, b, action, key, counter):
    if not is_tuple_of(env, Arms):
        return None

    def with_arms(env, world, b, action, key, counter):
        paid = uniform(key, counter, 0) < world.probabilities[b, action]
        for i in range(N_RECENT - 1):
            world.recent[b, i] = world.recent[b, i + 1]
        world.recent[b, N_RECENT - 1] = 2 * action + paid
        return 1.0 if paid else 0.0

    return with_arms


@overload(is_terminal, jit_options=JIT)
def _is_terminal(env, world, b):
    return (lambda env, world, b: False) if is_tuple_of(env, Arms) else None


@overload(write_view, jit_options=JIT)
def _write_view(env, rows, world, b, out):
    if not is_tuple_of(env, Arms):
        return None

    def with_arms(env, rows, world, b, out):
        view = env.views[rows.previous_action[b]]
        for i in range(len(view)):
            out[i] = view[i]
        return TIME

    return with_arms


@overload(write_info, jit_options=JIT)
def _write_info(env, world, b, out):
    return (lambda env, world, b, out: None) if is_tuple_of(env, Arms) else None
