"""``TMazeBatch``, compiled; see ``plasticrl.envs.t_maze``."""

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
from plasticrl.envs.t_maze import ACTIONS, SIGHT, TMazeBatch

N_MOVES = len(ACTIONS)


class TMaze(NamedTuple):
    """The tables and options of all rows."""

    next_place: np.ndarray
    """(4 (L + 3),)"""
    views: np.ndarray
    length: int


def t_maze_of(batch: TMazeBatch) -> TMaze:
    """Return the tables and options of a batch."""
    return TMaze(batch._next_place, batch._views, batch.corridor_length)


@overload(begin, jit_options=JIT)
def _begin(env, world, b, key, counter):
    if not is_tuple_of(env, TMaze):
        return None

    def in_maze(env, world, b, key, counter):
        world.place[b] = 0
        world.goes_down[b] = integer(uniform(key, counter, 0), 2)

    return in_maze


@overload(advance, jit_options=JIT)
def _advance(env, world, b, action, key, counter):
    if not is_tuple_of(env, TMaze):
        return None

    def in_maze(env, world, b, action, key, counter):
        place = env.next_place[world.place[b] * N_MOVES + action]
        world.place[b] = place
        if place <= env.length:
            return 0.0
        return 1.0 if place == env.length + 1 + world.goes_down[b] else -1.0

    return in_maze


@overload(is_terminal, jit_options=JIT)
def _is_terminal(env, world, b):
    return (lambda env, world, b: world.place[b] > env.length) if is_tuple_of(env, TMaze) else None


@overload(write_view, jit_options=JIT)
def _write_view(env, rows, world, b, out):
    if not is_tuple_of(env, TMaze):
        return None

    def in_maze(env, rows, world, b, out):
        sight = world.place[b] * 2 + world.goes_down[b]
        view = env.views[sight * (N_MOVES + 1) + rows.previous_action[b]]
        for i in range(len(view)):
            out[i] = view[i]
        return SIGHT

    return in_maze


@overload(write_info, jit_options=JIT)
def _write_info(env, world, b, out):
    return (lambda env, world, b, out: None) if is_tuple_of(env, TMaze) else None
