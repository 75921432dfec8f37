"""Evaluates a trained agent, with and without its plasticity."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector.utils import batch_space
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from plasticrl.agents.acting import Actor
from plasticrl.agents.failures import closing_env, environment_errors
from plasticrl.agents.masking import get_masks, has_masks, sample_possible
from plasticrl.agents.training.building import RunAlgorithm
from plasticrl.agents.training.config import TrainConfig
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
            n_trials = float(self.trials.sum())
            per_trial = float(self.rewards.sum()) / n_trials if n_trials else math.nan
            values[f"{prefix}reward_per_trial"] = per_trial
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
    return Measurement(rewards, None if np.isnan(trials).any() else trials)


def _play(
    agent: TrainedAgent, rows: int, seed: int, deterministic: bool, at_random: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the total reward and the number of trials of each row's first episode, (rows,).

    The number of trials is NaN if the environment does not report it.
    """
    total, trials = np.zeros(rows), np.full(rows, np.nan)
    chooser = _random_actions(seed) if at_random else _actions_of(agent, rows, deterministic)
    for step in play(agent.config, chooser, rows, seed):
        total += step.rewards * step.playing
        for row, info in step.ended.items():
            trials[row] = info.get("trials", np.nan)
    return total, trials


class Step(NamedTuple):
    """One step of several environments."""

    observations: Any
    """(rows, ...), what was observed before the actions."""
    actions: np.ndarray
    """(rows, ...)."""
    rewards: np.ndarray
    """(rows,)."""
    playing: np.ndarray
    """(rows,), whether each row was still in its first episode."""
    ended: dict[int, dict[str, Any]]
    """The infos of the rows that ended their first episode in this step, by row."""
    env: VecEnv
    """The environments, after the step."""


Chooser = Callable[[VecEnv, Any], np.ndarray]
"""From the environments and their observations to the actions."""


def play(config: TrainConfig, choose: Chooser, rows: int, seed: int) -> Iterator[Step]:
    """Step a run's environments until every row has ended its first episode.

    Args:
        choose: chooses the actions.
        rows: the number of environments; number k has the seed ``seed`` + k.

    Raises:
        UsageError: an episode did not end within ``LONGEST`` steps.
    """
    built = RunAlgorithm._wrap_env(build_env(config, rows), monitor_wrapper=False)
    with closing_env(built) as env:
        env.seed(seed)
        with environment_errors(env):
            obs = env.reset()
        playing = np.ones(rows, dtype=bool)
        for _ in range(LONGEST):
            actions = np.asarray(choose(env, obs))
            with environment_errors(env):
                after, rewards, dones, infos = env.step(actions)
            ended = {int(row): infos[row] for row in np.flatnonzero(dones & playing)}
            yield Step(obs, actions, rewards, playing, ended, env)
            obs, playing = after, playing & ~dones
            if not playing.any():
                return
        raise UsageError(
            f"{config.env_id}: {int(playing.sum())} of {rows} episodes did not end within "
            f"{LONGEST:,} steps; train with a time limit, as max_episode_steps in env_kwargs"
        )


def _masks(env: VecEnv) -> Any:
    """The possible actions (rows, ...), or None if the environments do not provide masks."""
    if not has_masks(env):
        return None
    with environment_errors(env):
        return get_masks(env)


def _random_actions(seed: int) -> Chooser:
    spaces: list[Any] = []

    def choose(env: VecEnv, obs: Any) -> np.ndarray:
        if not spaces:
            spaces.append(batch_space(env.action_space, env.num_envs))
            spaces[0].seed(seed)
        (space,) = spaces
        masks = _masks(env)
        if masks is None:
            return np.asarray(space.sample())
        return np.asarray(sample_possible(masks, env.action_space, space.np_random))

    return choose


def _actions_of(agent: TrainedAgent, rows: int, deterministic: bool) -> Chooser:
    policy = agent.policy
    act = Actor(policy, policy.initial_state(rows))

    def choose(env: VecEnv, obs: Any) -> np.ndarray:
        masks = _masks(env)
        inputs = obs_as_tensor(agent.normalize_obs(obs), policy.device)
        possible = None if masks is None else torch.as_tensor(masks, device=policy.device)
        chosen, _ = act(inputs, None, deterministic, possible)
        return np.asarray(policy.clip(chosen))

    return choose


@torch.no_grad()
def play_agent(agent: TrainedAgent, rows: int, seed: int, deterministic: bool) -> Iterator[Step]:
    """Yield the steps of an agent; the arguments are as for ``play`` and ``measure``."""
    torch.manual_seed(seed)
    yield from play(agent.config, _actions_of(agent, rows, deterministic), rows, seed)


@torch.no_grad()
def rewards_by_step(
    agent: TrainedAgent, episodes: int, seed: int, deterministic: bool
) -> list[np.ndarray]:
    """Return the rewards (T,) of each episode. There can be at most ``ROWS`` episodes.

    The arguments are as for ``measure``.
    """
    steps = list(play_agent(agent, episodes, seed, deterministic))
    rewards = np.stack([step.rewards for step in steps], axis=1)
    lengths = np.sum([step.playing for step in steps], axis=0)
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
