"""``GridMazeBatch``, compiled; see ``plasticrl.envs.grid_maze``."""

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
from plasticrl.envs.grid_maze import MOVES, WINDOW, GridMazeBatch

N_MOVES = len(MOVES)


class Maze(NamedTuple):
    """The tables and options of all rows."""

    next_cell: np.ndarray
    """(4 F,)"""
    goals: np.ndarray
    views: np.ndarray
    center: int
    n_cells: int
    goal_reward: float
    wall_penalty: float
    step_penalty: float
    goal_moves: float
    random_start: bool


def maze_of(batch: GridMazeBatch) -> Maze:
    """Return the tables and options of a batch."""
    return Maze(
        next_cell=batch._next_cell,
        goals=batch._goals,
        views=batch._views,
        center=batch.maze.center,
        n_cells=len(batch.maze.cells),
        goal_reward=float(batch.goal_reward),
        wall_penalty=float(batch.wall_penalty),
        step_penalty=float(batch.step_penalty),
        goal_moves=float(batch.goal_moves),
        random_start=batch.random_start,
    )


@overload(begin, jit_options=JIT)
def _begin(env, world, b, key, counter):
    if not is_tuple_of(env, Maze):
        return None

    def in_maze(env, world, b, key, counter):
        goal = env.goals[integer(uniform(key, counter, 0), len(env.goals))]
        world.goal[b] = goal
        world.agent[b] = env.center
        if env.random_start:
            cell = integer(uniform(key, counter, 1), env.n_cells - 1)
            world.agent[b] = cell + (cell >= goal)

    return in_maze


@overload(advance, jit_options=JIT)
def _advance(env, world, b, action, key, counter):
    if not is_tuple_of(env, Maze):
        return None

    def in_maze(env, world, b, action, key, counter):
        agent, goal = world.agent[b], world.goal[b]
        cell = env.next_cell[agent * N_MOVES + action]
        reward = env.goal_reward if cell == goal else 0.0
        if env.wall_penalty != 0 and cell == agent:
            reward -= env.wall_penalty
        if env.step_penalty != 0:
            reward -= env.step_penalty
        if cell == goal:
            cell = integer(uniform(key, counter, 0), env.n_cells - 1)
            cell += cell >= goal
        world.agent[b] = cell
        if env.goal_moves != 0 and uniform(key, counter, 1) < env.goal_moves:
            world.goal[b] = env.goals[integer(uniform(key, counter, 2), len(env.goals))]
        return reward

    return in_maze


@overload(is_terminal, jit_options=JIT)
def _is_terminal(env, world, b):
    return (lambda env, world, b: False) if is_tuple_of(env, Maze) else None


@overload(write_view, jit_options=JIT)
def _write_view(env, rows, world, b, out):
    if not is_tuple_of(env, Maze):
        return None

    def in_maze(env, rows, world, b, out):
        view = env.views[world.agent[b] * (N_MOVES + 1) + rows.previous_action[b]]
        for i in range(len(view)):
            out[i] = view[i]
        return WINDOW + 2

    return in_maze


@overload(write_info, jit_options=JIT)
def _write_info(env, world, b, out):
    return (lambda env, world, b, out: None) if is_tuple_of(env, Maze) else None
