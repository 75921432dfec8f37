"""Measuring a trained agent, with its plasticity and without."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector.utils import batch_space
from stable_baselines3.common.utils import obs_as_tensor

from plasticrl.agents.acting import Actor
from plasticrl.agents.policies import PlasticPolicy
from plasticrl.agents.training.building import build_env
from plasticrl.agents.training.config import TrainConfig
from plasticrl.runs import UsageError

ROWS = 256
"""Episodes played side by side. The environments are seeded one by one and do not depend on it;
which actions are sampled in them does, as the rows share one stream of random numbers."""


@dataclass(frozen=True)
class Measurement:
    """Rewards of independent episodes, (episodes,), and the trials in them, if there are any."""

    rewards: np.ndarray
    trials: np.ndarray | None = None

    @property
    def mean(self) -> float:
        """Mean reward of an episode."""
        return float(self.rewards.mean())

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % confidence interval of the mean, by the normal approximation."""
        half = 1.96 * float(self.rewards.std(ddof=1)) / math.sqrt(len(self.rewards))
        return self.mean - half, self.mean + half

    def described(self, prefix: str = "") -> dict[str, Any]:
        """What ``evaluation.json`` says of it."""
        description: dict[str, Any] = {
            f"{prefix}reward_mean": self.mean,
            f"{prefix}reward_ci95": list(self.ci95),
        }
        if self.trials is not None:
            per_trial = float(self.rewards.sum() / self.trials.sum())
            description[f"{prefix}reward_per_trial"] = per_trial
        return description


@torch.no_grad()
def measure(
    policy: PlasticPolicy | None,
    config: TrainConfig,
    episodes: int,
    seed: int,
    deterministic: bool = False,
) -> Measurement:
    """Play ``episodes`` episodes, one in each environment; episode k is seeded with seed + k.

    Args:
        policy: None walks at random.
        config: says which environment.
        episodes: how many.
        seed: of the environments and of the actions.
        deterministic: the most likely action instead of a sample.
    """
    torch.manual_seed(seed)
    played = [
        _play(policy, config, min(ROWS, episodes - first), seed + first, deterministic)
        for first in range(0, episodes, ROWS)
    ]
    rewards, trials = (np.concatenate(columns) for columns in zip(*played, strict=True))
    return Measurement(rewards, trials if trials.all() else None)


def _play(
    policy: PlasticPolicy | None, config: TrainConfig, rows: int, seed: int, deterministic: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Reward and trials of the first episode of every row, (rows,); 0 trials where none count."""
    total, trials = np.zeros(rows), np.zeros(rows)
    for rewards, playing, ended in _steps(policy, config, rows, seed, deterministic):
        total += rewards * playing
        for row, info in ended.items():
            trials[row] = info.get("trials", 0)
    return total, trials


def _steps(
    policy: PlasticPolicy | None, config: TrainConfig, rows: int, seed: int, deterministic: bool
) -> Iterator[tuple[np.ndarray, np.ndarray, dict[int, dict[str, Any]]]]:
    """The steps until every row has ended its first episode.

    Yields:
        rewards (rows,), which rows are in their first episode (rows,), infos of those that end it.
    """
    env = build_env(config, rows)
    try:
        env.seed(seed)
        obs = env.reset()
        random_actions = batch_space(env.action_space, rows)
        random_actions.seed(seed)
        act = None if policy is None else Actor(policy, policy.initial_state(rows))
        playing = np.ones(rows, dtype=bool)
        while playing.any():
            if policy is None or act is None:
                actions = random_actions.sample()
            else:
                chosen, _ = act(obs_as_tensor(obs, policy.device), None, deterministic)  # type: ignore[arg-type]
                actions = policy.clip(chosen)
            obs, rewards, dones, infos = env.step(np.asarray(actions))
            ended = {int(row): infos[row] for row in np.flatnonzero(dones & playing)}
            yield rewards, playing, ended
            playing = playing & ~dones
    finally:
        env.close()


@torch.no_grad()
def rewards_by_step(
    policy: PlasticPolicy, config: TrainConfig, episodes: int, seed: int, deterministic: bool
) -> list[np.ndarray]:
    """The rewards (T,) of each of at most ``ROWS`` episodes; else as ``measure``."""
    torch.manual_seed(seed)
    steps = list(_steps(policy, config, episodes, seed, deterministic))
    rewards = np.stack([step[0] for step in steps], axis=1)
    lengths = np.sum([step[1] for step in steps], axis=0)
    return [row[:length] for row, length in zip(rewards, lengths, strict=True)]


def ablate(policy: PlasticPolicy) -> PlasticPolicy:
    """A copy with every plasticity coefficient zero: its weights stay what they are.

    Raises:
        UsageError: if the core has none.
    """
    if policy.core.connection is None:
        raise UsageError(
            f"--ablate-plasticity: the core {policy.core_name!r} has no plastic connections"
        )
    ablated = copy.deepcopy(policy)
    with torch.no_grad():
        ablated.core.connection.alpha.zero_()  # type: ignore[union-attr]
    return ablated


def evaluate(
    policy: PlasticPolicy,
    config: TrainConfig,
    preset: str,
    episodes: int,
    seed: int,
    deterministic: bool = False,
    ablate_plasticity: bool = False,
) -> dict[str, Any]:
    """Measure a policy beside a random walk; what ``evaluation.json`` holds.

    Args:
        policy, config, episodes, seed, deterministic: as ``measure``.
        preset: the run's, to be named in the result.
        ablate_plasticity: measure also with every plasticity coefficient zero.

    Raises:
        UsageError: if there is nothing to ablate.
    """
    ablated = ablate(policy) if ablate_plasticity else None
    options = (config, episodes, seed, deterministic)
    result: dict[str, Any] = {
        "env_id": config.env_id,
        "preset": preset,
        "episodes": episodes,
        **measure(policy, *options).described(),
        **measure(None, *options).described("random_"),
        "seed": seed,
        "deterministic": deterministic,
    }
    if ablated is not None:
        result |= measure(ablated, *options).described("ablated_")
    return result
