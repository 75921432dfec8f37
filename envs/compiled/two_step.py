"""``TwoStepBatch``, compiled; see ``plasticrl.envs.two_step``."""

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
from plasticrl.envs.two_step import ACTIONS, TIME, TwoStepBatch

N_ACTIONS = len(ACTIONS)


class Stages(NamedTuple):
    """The tables and options of all rows."""

    views: np.ndarray
    common_probability: float
    reward_probability: float
    swap_probability: float


def stages_of(batch: TwoStepBatch) -> Stages:
    """Return the tables and options of a batch."""
    return Stages(
        batch._views,
        float(batch.common_probability),
        float(batch.reward_probability),
        float(batch.swap_probability),
    )


@overload(begin, jit_options=JIT)
def _begin(env, world, b, key, counter):
    if not is_tuple_of(env, Stages):
        return None

    def with_stages(env, world, b, key, counter):
        world.stage[b] = 0
        world.better[b] = 1 + integer(uniform(key, counter, 0), 2)

    return with_stages


@overload(advance, jit_options=JIT)
def _advance(env, world, b, action, key, counter):
    if not is_tuple_of(env, Stages):
        return None

    def with_stages(env, world, b, action, key, counter):
        event, stage, better = uniform(key, counter, 0), world.stage[b], world.better[b]
        if stage == 0:
            world.stage[b] = 1 + (action if event < env.common_probability else 1 - action)
            return 0.0
        world.stage[b] = 0
        if uniform(key, counter, 1) < env.swap_probability:
            world.better[b] = 3 - better
        pays = env.reward_probability if stage == better else 1.0 - env.reward_probability
        return 1.0 if event < pays else 0.0

    return with_stages


@overload(is_terminal, jit_options=JIT)
def _is_terminal(env, world, b):
    return (lambda env, world, b: False) if is_tuple_of(env, Stages) else None


@overload(write_view, jit_options=JIT)
def _write_view(env, rows, world, b, out):
    if not is_tuple_of(env, Stages):
        return None

    def with_stages(env, rows, world, b, out):
        view = env.views[world.stage[b] * (N_ACTIONS + 1) + rows.previous_action[b]]
        for i in range(len(view)):
            out[i] = view[i]
        return TIME

    return with_stages


@overload(write_info, jit_options=JIT)
def _write_info(env, world, b, out):
    return (lambda env, world, b, out: None) if is_tuple_of(env, Stages) else None
