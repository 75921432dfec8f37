"""The table of environments: one line each, with its single and its batched form."""

from typing import NamedTuple

import gymnasium
from gymnasium.envs.registration import find_highest_version, get_env_id, parse_env_id


class EnvRow(NamedTuple):
    """One environment: its id, and the module and classes of its single and batched form."""

    id: str
    module: str  # in plasticrl.envs
    single: str
    batch: str


TABLE = (
    EnvRow("plasticrl/GridMaze-v0", "grid_maze", "GridMaze", "GridMazeBatch"),
    EnvRow("plasticrl/CueReward-v0", "cue_reward", "CueReward", "CueRewardBatch"),
    EnvRow("plasticrl/TMaze-v0", "t_maze", "TMaze", "TMazeBatch"),
    EnvRow("plasticrl/Bandit-v0", "bandit", "Bandit", "BanditBatch"),
    EnvRow("plasticrl/TwoStep-v0", "two_step", "TwoStep", "TwoStepBatch"),
    EnvRow(
        "plasticrl/TransitiveInference-v0",
        "transitive_inference",
        "TransitiveInference",
        "TransitiveInferenceBatch",
    ),
    EnvRow("plasticrl/Harlow-v0", "harlow", "Harlow", "HarlowBatch"),
)

ENV_IDS = tuple(row.id for row in TABLE)

MODULE = "plasticrl.envs"
"""The module whose import registers ``ENV_IDS``."""


def resolve_id(env_id: str) -> str:
    """Return the full id of a registered environment, as ``gymnasium.make`` finds it.

    An id without a version gets the newest one, and an id of this package loses its module:
    "plasticrl.envs:plasticrl/GridMaze" becomes "plasticrl/GridMaze-v0". An id that is not
    registered, or names another module, is returned unchanged.
    """
    own_id = env_id.removeprefix(f"{MODULE}:")
    try:
        namespace, name, version = parse_env_id(own_id)
    except gymnasium.error.Error:
        return env_id
    newest = find_highest_version(namespace, name)
    if version is None and newest is not None:
        own_id = get_env_id(namespace, name, newest)
    return own_id if own_id in gymnasium.registry else env_id


def register_envs() -> None:
    """Register every environment of the table that Gymnasium does not know yet.

    No ``max_episode_steps`` is set: the length of an episode is the environment's own argument,
    ``episode_length``. A process that did not import ``plasticrl.envs``, as the workers that the
    start methods "spawn" and "forkserver" begin, makes an environment by its id with the module, as
    in ``gymnasium.make("plasticrl.envs:plasticrl/GridMaze-v0")``.
    """
    for row in TABLE:
        if row.id not in gymnasium.registry:
            module = f"plasticrl.envs.{row.module}"
            gymnasium.register(
                row.id,
                entry_point=f"{module}:{row.single}",
                vector_entry_point=f"{module}:{row.batch}",
            )
