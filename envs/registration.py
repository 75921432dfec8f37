"""The table of environments: one line each, with its single and its batched form."""

from typing import NamedTuple

import gymnasium


class EnvRow(NamedTuple):
    """One environment: its id, the class of one and the class of many."""

    id: str
    single: str
    batch: str


TABLE = (
    EnvRow(
        "plasticrl/GridMaze-v0",
        "plasticrl.envs.grid_maze:GridMaze",
        "plasticrl.envs.grid_maze:GridMazeBatch",
    ),
    EnvRow(
        "plasticrl/CueReward-v0",
        "plasticrl.envs.cue_reward:CueReward",
        "plasticrl.envs.cue_reward:CueRewardBatch",
    ),
)

ENV_IDS = tuple(row.id for row in TABLE)


def register_envs() -> None:
    """Register every environment of the table that Gymnasium does not know yet.

    No `max_episode_steps`: an episode's length is the environment's own argument, `episode_length`.
    """
    for row in TABLE:
        if row.id not in gymnasium.registry:
            gymnasium.register(row.id, entry_point=row.single, vector_entry_point=row.batch)
