"""Compiled forms of the batches of environments. Importing this package imports Numba."""

from collections.abc import Callable
from typing import Any

from plasticrl.envs.arrays import to_host
from plasticrl.envs.bandit import BanditBatch
from plasticrl.envs.batch import BatchEnv
from plasticrl.envs.compiled.bandit import arms_of
from plasticrl.envs.compiled.batch import CompiledBatch
from plasticrl.envs.compiled.cue_reward import cues_of
from plasticrl.envs.compiled.grid_maze import maze_of
from plasticrl.envs.compiled.harlow import ring_of
from plasticrl.envs.compiled.t_maze import t_maze_of
from plasticrl.envs.compiled.transitive_inference import items_of
from plasticrl.envs.compiled.two_step import stages_of
from plasticrl.envs.cue_reward import CueRewardBatch
from plasticrl.envs.grid_maze import GridMazeBatch
from plasticrl.envs.harlow import HarlowBatch
from plasticrl.envs.t_maze import TMazeBatch
from plasticrl.envs.transitive_inference import TransitiveInferenceBatch
from plasticrl.envs.two_step import TwoStepBatch

COMPILED: dict[type[BatchEnv[Any]], Callable[[Any], Any]] = {
    GridMazeBatch: maze_of,
    CueRewardBatch: cues_of,
    TMazeBatch: t_maze_of,
    BanditBatch: arms_of,
    TwoStepBatch: stages_of,
    TransitiveInferenceBatch: items_of,
    HarlowBatch: ring_of,
}
"""For each class, the function that returns the tables and options of a batch."""


def can_compile(batch: BatchEnv[Any]) -> bool:
    """Return whether ``compiled`` takes a batch: of a class of ``COMPILED``, with numpy arrays."""
    return type(batch) in COMPILED and batch.device is None


def compiled(batch: BatchEnv[Any]) -> CompiledBatch:
    """Return the compiled form of a batch, whose state is a copy of that of the batch."""
    rows, world = batch.state
    return CompiledBatch(
        env=COMPILED[type(batch)](batch),
        rows=type(rows)._make(map(to_host, rows)),
        world=type(world)._make(map(to_host, world)),
        time_limit=batch.time_limit,
        episode_length=float(batch.episode_length),
        n_actions=batch.n_actions,
        n_infos=len(batch.episode_info(world)),
    )
