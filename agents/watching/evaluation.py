"""Evaluates a trained agent, with and without its plasticity."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector.utils import batch_space
from stable_baselines3.common.utils import obs_as_tensor

from plasticrl.agents.acting import Actor
from plasticrl.agents.failures import closing_env, environment_errors
from plasticrl.agents.masking import get_masks, has_masks, sample_possible
from plasticrl.agents.training.building import RunAlgorithm
from plasticrl.agents.training.environments import build_env
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.runs import UsageError, mean_interval

ROWS = 256
"""Number of episodes that are played in parallel, each in its own row of the batch. The sampled
actions depend on this number, because all rows share one random number generator."""
LONGEST = 30_000
"""Steps after which the evaluation stops with an error if an episode has not ended."""


@dataclass(frozen=True)
class Measurement:
    """The rewards of independent episodes."""

    rewards: np.ndarray
    """The total reward of each episode, (episodes,)."""
    trials: np.ndarray | None = None
    """The number of trials in each episode, (episodes,); None if episodes have no trials."""

    @property
    def mean(self) -> float:
        """Mean reward of an episode."""
        return float(self.rewards.mean())

    @property
    def ci95(self) -> tuple[float, float]:
        """Student's 95 % confidence interval of the mean."""
        return mean_interval(self.rewards)

    def summary(self, prefix: str = "") -> dict[str, Any]:
        """The entries for ``evaluation.json``; each key begins with ``prefix``."""
        values: dict[str, Any] = {
            f"{prefix}reward_mean": self.mean,
            f"{prefix}reward_ci95": list(self.ci95),
        }
        if self.trials is not None:
            values[f"{prefix}reward_per_trial"] = float(self.rewards.sum() / self.trials.sum())
        return values


@torch.no_grad()
def measure(
    agent: TrainedAgent,
    episodes: int,
    seed: int,
    deterministic: bool = False,
    at_random: bool = False,
) -> Measurement:
    """Play ``episodes`` episodes; the environment of episode k has the seed ``seed`` + k.

    Args:
        agent: the agent, whose run names the environment and its options.
        seed: the seed of the first environment and of the actions.
        deterministic: take the most likely action instead of a sample.
        at_random: take random actions instead of the agent's, with equal probability from all
            that are possible.

    Raises:
        UsageError: an episode did not end within ``LONGEST`` steps.
    """
    torch.manual_seed(seed)
    played = [
        _play(agent, min(ROWS, episodes - first), seed + first, deterministic, at_random)
        for first in range(0, episodes, ROWS)
    ]
    rewards, trials = (np.concatenate(columns) for columns in zip(*played, strict=True))
    return Measurement(rewards, trials if trials.all() else None)


def _play(
    agent: TrainedAgent, rows: int, seed: int, deterministic: bool, at_random: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the total reward and the number of trials of each row's first episode, (rows,)."""
    total, trials = np.zeros(rows), np.zeros(rows)
    for rewards, playing, ended in _steps(agent, rows, seed, deterministic, at_random):
        total += rewards * playing
        for row, info in ended.items():
            trials[row] = info.get("trials", 0)
    return total, trials


def _steps(
    agent: TrainedAgent, rows: int, seed: int, deterministic: bool, at_random: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray, dict[int, dict[str, Any]]]]:
    """Step the environments until every row has ended its first episode.

    Yields:
        For each step, the rewards (rows,); whether each row is still in its first episode (rows,);
        and the infos of the rows that end it in this step, by row.
    """
    config, policy = agent.config, agent.policy
    built = RunAlgorithm._wrap_env(build_env(config, rows), monitor_wrapper=False)
    with closing_env(built) as env:
        env.seed(seed)
        with environment_errors(env):
            obs = env.reset()
        are_masked = has_masks(env)
        random_actions = batch_space(env.action_space, rows)
        random_actions.seed(seed)
        act = Actor(policy, policy.initial_state(rows))
        playing = np.ones(rows, dtype=bool)
        for _ in range(LONGEST):
            masks = None
            if are_masked:
                with environment_errors(env):
                    masks = get_masks(env)
            if not at_random:
                inputs = obs_as_tensor(agent.normalize_obs(obs), policy.device)
                possible = None if masks is None else torch.as_tensor(masks, device=policy.device)
                chosen, _ = act(inputs, None, deterministic, possible)
                actions = policy.clip(chosen)
            elif masks is None:
                actions = random_actions.sample()
            else:
                actions = sample_possible(masks, env.action_space, random_actions.np_random)
            with environment_errors(env):
                obs, rewards, dones, infos = env.step(np.asarray(actions))
            ended = {int(row): infos[row] for row in np.flatnonzero(dones & playing)}
            yield rewards, playing, ended
            playing = playing & ~dones
            if not playing.any():
                return
        raise UsageError(
            f"{config.env_id}: {int(playing.sum())} of {rows} episodes did not end within "
            f"{LONGEST:,} steps; train with a time limit, as max_episode_steps in env_kwargs"
        )


@torch.no_grad()
def rewards_by_step(
    agent: TrainedAgent, episodes: int, seed: int, deterministic: bool
) -> list[np.ndarray]:
    """Return the rewards (T,) of each episode. There can be at most ``ROWS`` episodes.

    The arguments are as for ``measure``.
    """
    torch.manual_seed(seed)
    steps = list(_steps(agent, episodes, seed, deterministic))
    rewards = np.stack([step[0] for step in steps], axis=1)
    lengths = np.sum([step[1] for step in steps], axis=0)
    return [row[:length] for row, length in zip(rewards, lengths, strict=True)]


def evaluate(
    agent: TrainedAgent,
    episodes: int,
    seed: int,
    deterministic: bool = False,
    ablate_plasticity: bool = False,
) -> dict[str, Any]:
    """Measure an agent, and random actions for comparison.

    Args:
        episodes, seed, deterministic: as for ``measure``.
        ablate_plasticity: also measure the agent with all plasticity coefficients set to zero.

    Returns:
        The content of ``evaluation.json``.

    Raises:
        UsageError: the core has no plasticity to ablate, or an episode does not end.
    """
    ablated = agent.ablate() if ablate_plasticity else None
    options = (episodes, seed, deterministic)
    result: dict[str, Any] = {
        "env_id": agent.config.env_id,
        "preset": agent.run.preset,
        "n_timesteps": agent.n_timesteps,
        "episodes": episodes,
        **measure(agent, *options).summary(),
        **measure(agent, *options, at_random=True).summary("random_"),
        "seed": seed,
        "deterministic": deterministic,
        "device": str(agent.policy.device),
    }
    if ablated is not None:
        result |= measure(ablated, *options).summary("ablated_")
    return result
