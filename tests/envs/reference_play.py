"""One episode of every row of a batch, played by a policy that sees observations."""

from typing import Any, NamedTuple

import numpy as np

from plasticrl.envs import BatchEnv
from plasticrl.envs.reference import ReferencePolicy


class Played(NamedTuple):
    """An episode of T steps in B rows."""

    observations: Any  # (T, B, features) before each action
    actions: Any  # (T, B)
    rewards: Any  # (T, B)


def play(batch: BatchEnv[Any], policy: ReferencePolicy, seed: int = 0) -> Played:
    """Play an episode of ``batch.episode_length`` steps in every row."""
    observation, _ = batch.reset(seed=seed)
    policy.reset(batch.num_envs)
    steps = []
    for _ in range(batch.episode_length):
        action = policy.act(observation)
        seen = observation
        observation, reward, *_ = batch.step(action)
        steps.append((seen, action, reward))
    return Played(*map(np.array, zip(*steps, strict=True)))
