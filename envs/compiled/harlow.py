"""``HarlowBatch``, compiled; see ``plasticrl.envs.harlow``."""

from typing import NamedTuple

import numpy as np
from numba.extending import overload

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
from plasticrl.envs.harlow import CENTER, FIXATION_REWARD, LEFT, RIGHT, TIME, VIEW, HarlowBatch


class Ring(NamedTuple):
    """The tables and options of all rows."""

    next_cell: np.ndarray
    views: np.ndarray
    sights: np.ndarray
    values: np.ndarray
    n_objects: int
    n_trials: int


def ring_of(batch: HarlowBatch) -> Ring:
    """Return the tables and options of a batch."""
    return Ring(
        next_cell=batch._next_cell,
        views=batch._views,
        sights=batch._sights,
        values=batch._values,
        n_objects=batch.n_objects,
        n_trials=batch.n_trials,
    )


@overload(begin, jit_options=JIT)
def _begin(env, world, b, key, counter):
    if not is_tuple_of(env, Ring):
        return None

    def on_ring(env, world, b, key, counter):
        shift = integer(uniform(key, counter, 0), 6) - 3
        good = 1 + integer(uniform(key, counter, 1), env.n_objects)
        other = 1 + integer(uniform(key, counter, 2), env.n_objects - 1)
        world.cell[b] = CENTER + shift + (shift >= 0)
        world.objects[b, 0], world.objects[b, 1] = good, other + (other >= good)
        world.stage[b], world.good_is_right[b], world.trials[b] = 0, 0, 0
        for k in range(env.n_trials):
            world.correct[b, k] = 0

    return on_ring


@overload(advance, jit_options=JIT)
def _advance(env, world, b, action, key, counter):
    if not is_tuple_of(env, Ring):
        return None

    def on_ring(env, world, b, action, key, counter):
        cell = env.next_cell[world.cell[b] * 2 + action]
        world.cell[b] = cell
        if world.stage[b] == 0:
            if cell != CENTER:
                return 0.0
            world.stage[b] = 1
            world.good_is_right[b] = integer(uniform(key, counter, 0), 2)
            return FIXATION_REWARD
        if cell not in (LEFT, RIGHT):
            return 0.0
        is_good = (cell == RIGHT) == (world.good_is_right[b] == 1)
        world.correct[b, world.trials[b]] = is_good
        world.stage[b] = 0
        world.trials[b] += 1
        return 1.0 if is_good else -1.0

    return on_ring


@overload(is_terminal, jit_options=JIT)
def _is_terminal(env, world, b):
    if not is_tuple_of(env, Ring):
        return None
    return lambda env, world, b: world.trials[b] >= env.n_trials


@overload(write_view, jit_options=JIT)
def _write_view(env, rows, world, b, out):
    if not is_tuple_of(env, Ring):
        return None

    def on_ring(env, rows, world, b, out):
        cell, stage, good = world.cell[b], world.stage[b], world.good_is_right[b]
        view = env.views[(cell * 2 + (1 - stage)) * 3 + rows.previous_action[b]]
        for i in range(len(view)):
            out[i] = view[i]
        if stage == 1:
            left, right = env.values[world.objects[b, good]], env.values[world.objects[b, 1 - good]]
            for i in range(VIEW):
                out[i] = left * env.sights[cell, 0, i] + right * env.sights[cell, 1, i]
        return TIME

    return on_ring


@overload(write_info, jit_options=JIT)
def _write_info(env, world, b, out):
    if not is_tuple_of(env, Ring):
        return None

    def on_ring(env, world, b, out):
        out[0] = world.trials[b]
        for k in range(env.n_trials):
            out[k + 1] = world.correct[b, k]

    return on_ring
