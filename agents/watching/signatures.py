"""What an agent has learned within its episodes, as the field shows it for each task.

    bandit                  regret, beside Thompson sampling and the optimal agent
    two-step                how often a choice is repeated, by reward and transition
    Harlow                  the share of right choices in each trial
    transitive inference    the share of right answers by the distance of the pair's ranks

An entry of ``SIGNATURES`` makes a picture's data from the episodes of several agents.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from plasticrl.agents.failures import closing_env
from plasticrl.agents.training.environments import build_env
from plasticrl.agents.vec_env import BatchVecEnv
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.evaluation import Chooser, Step, play, play_agent
from plasticrl.envs import resolve_id
from plasticrl.envs.reference import (
    MOST_PULLS,
    OptimalPair,
    OptimalTwoArms,
    ReferencePolicy,
    ThompsonSampling,
    TwoStepFilter,
    stay_probabilities,
)
from plasticrl.envs.reference_harlow import HarlowPolicy
from plasticrl.envs.reference_transitive_inference import IdealObserver
from plasticrl.runs import UsageError
from plasticrl.runs.intervals import Z95
from plasticrl.viewer.signature import Series, Signature

TWO_TRIALS = 4
"""The steps of two trials of the two-step task."""
TRAINED, ABLATED = "trained agent", "plasticity ablated"


class Played(NamedTuple):
    """Episodes of B environments, all from the same start."""

    observations: NDArray[np.float32]
    """(T, B, F), before the actions."""
    actions: NDArray[np.int64]
    """(T, B)."""
    rewards: NDArray[np.floating]
    """(T, B); zero after a row's first episode."""
    infos: Sequence[dict[str, Any]]
    """The last info of each row's first episode, (B,)."""
    seen: NDArray[Any]
    """(T, B, ...), what a task reads of the environments after each step."""


Players = dict[str, Callable[[Callable[[VecEnv], Any]], Played]]
"""The agents of a picture by their labels. Each plays when it is told what to read."""


def signature(agent: TrainedAgent, episodes: int, seed: int, deterministic: bool) -> Signature:
    """Play episodes of an agent, and return what is typical of it in its task.

    Args:
        episodes, seed, deterministic: as for ``evaluation.measure``.

    Raises:
        UsageError: there is no signature of the agent's environment.
    """
    env_id = resolve_id(agent.config.env_id)
    if env_id not in SIGNATURES:
        raise UsageError(
            f"there is no signature of {agent.config.env_id}, only of {', '.join(SIGNATURES)}"
        )
    changes = {
        "trials": agent.config.trials > 1,
        "history": agent.config.history,
        "wrapper": agent.config.wrapper,
    }
    if given := [name for name, is_given in changes.items() if is_given]:
        raise UsageError(
            f"there is no signature of an environment that is changed by {', '.join(given)}"
        )
    references, draw = SIGNATURES[env_id]

    def agent_plays(each: TrainedAgent) -> Callable[[Callable[[VecEnv], Any]], Played]:
        return lambda read: _collect(play_agent(each, episodes, seed, deterministic), read)

    def reference_plays(policy: ReferencePolicy) -> Callable[[Callable[[VecEnv], Any]], Played]:
        policy.reset(episodes)
        choose: Chooser = lambda env, observations: policy.act(observations)  # noqa: E731
        return lambda read: _collect(play(agent.config, choose, episodes, seed), read)

    players: Players = {TRAINED: agent_plays(agent)}
    if agent.is_plastic:
        players[ABLATED] = agent_plays(agent.ablate())
    options = _options_of(agent)
    players |= {label: reference_plays(policy) for label, policy in references(options).items()}
    return draw(players, options)


def _collect(steps: Iterator[Step], read: Callable[[VecEnv], Any]) -> Played:
    observations, actions, rewards, seen = [], [], [], []
    infos: dict[int, dict[str, Any]] = {}
    for step in steps:
        observations.append(step.observations)
        actions.append(step.actions)
        rewards.append(step.rewards * step.playing)
        seen.append(read(step.env))
        infos |= step.ended
    return Played(
        np.stack(observations),
        np.stack(actions),
        np.stack(rewards),
        [infos[row] for row in range(len(infos))],
        np.stack(seen),
    )


def _options_of(agent: TrainedAgent) -> Any:
    """The environments' batch, whose attributes are their options."""
    with closing_env(build_env(agent.config, 1)) as env:
        assert isinstance(env, BatchVecEnv)
        return env.batch


def _mean(label: str, values: NDArray[np.floating]) -> Series:
    """The means over episodes (B, N) with their intervals; NaN where an episode has no value."""
    is_there = np.isfinite(values)
    n = is_there.sum(axis=0)
    some = np.maximum(n, 1)
    means = np.where(is_there, values, 0).sum(axis=0) / some
    deviations = np.where(is_there, values - means, 0)
    half = Z95 * np.sqrt((deviations**2).sum(axis=0)) / some
    return Series(label, np.where(n > 0, means, np.nan), np.where(n > 0, half, np.nan))


def _bandit_references(options: Any) -> dict[str, ReferencePolicy]:
    if options.arms != "independent":
        return {"optimal": OptimalPair()}
    policies: dict[str, ReferencePolicy] = {"Thompson sampling": ThompsonSampling(options.n_arms)}
    if options.n_arms == 2 and options.time_limit <= MOST_PULLS:
        policies["optimal"] = OptimalTwoArms(options.time_limit)
    return policies


def _bandit(players: Players, options: Any) -> Signature:
    if options.time_limit == 1:
        raise UsageError("there is no signature of a bandit that is pulled once in an episode")
    series = []
    for label, plays in players.items():
        played = plays(lambda env: np.stack(env.get_attr("probabilities")))
        arms = played.seen[0]  # the last step's are those of the next episode
        paid = np.take_along_axis(arms, played.actions.T, axis=1)
        series.append(_mean(label, np.cumsum(arms.max(axis=1, keepdims=True) - paid, axis=1)))
    pulls = list(range(1, options.time_limit + 1))
    return Signature(
        "Bandit: what the agent lost against the best arm",
        "pull",
        "cumulative regret",
        "lines",
        pulls,
        series,
    )


def _two_step_references(options: Any) -> dict[str, ReferencePolicy]:
    return {"optimal": TwoStepFilter(options.reward_probability, options.swap_probability)}


def _two_step(players: Players, options: Any) -> Signature:
    if options.time_limit < TWO_TRIALS:
        raise UsageError("there is no signature of a two-step task with fewer than two trials")
    series = []
    for label, plays in players.items():
        played = plays(lambda env: 0)
        episodes = zip(
            *(np.swapaxes(part, 0, 1)[:, :, None] for part in played[1:3]),
            np.swapaxes(played.observations, 0, 1)[:, :, None],
            strict=True,
        )
        stays = [
            stay_probabilities(observations, actions, rewards)[:, ::-1].T.ravel()
            for actions, rewards, observations in episodes
        ]
        series.append(_mean(label, np.stack(stays)))
    return Signature(
        "Two-step task: how often the agent chooses as in the trial before",
        "the trial before",
        "probability of staying",
        "bars",
        ("common, reward", "rare, reward", "common, none", "rare, none"),
        series,
        ("chance", 0.5),
    )


def _harlow(players: Players, options: Any) -> Signature:
    series = []
    for label, plays in players.items():
        infos = plays(lambda env: 0).infos
        correct = np.array(
            [[info[f"correct_{k + 1}"] for k in range(options.n_trials)] for info in infos], float
        )
        done = np.array([info["trials"] for info in infos])
        correct[np.arange(options.n_trials) >= done[:, None]] = np.nan
        series.append(_mean(label, correct))
    return Signature(
        "Harlow's task: choices in each trial",
        "trial",
        "share of right choices",
        "bars",
        [str(k + 1) for k in range(options.n_trials)],
        series,
        ("chance", 0.5),
    )


def _transitive_inference(players: Players, options: Any) -> Signature:
    series, n_distances = [], options.max_items - 1
    for label, plays in players.items():
        played = plays(lambda env: np.stack(env.get_attr("ranks")))
        answered = played.rewards != 0
        is_test = answered & (np.cumsum(answered, axis=0) > options.first_test_trial)
        if not is_test.any():
            raise UsageError("there is no signature of an episode that ends before its test trials")
        distances = np.abs(played.seen[..., 0] - played.seen[..., 1])
        shares = np.full((played.rewards.shape[1], n_distances), np.nan)
        for distance in range(1, n_distances + 1):
            counted = is_test & (distances == distance)
            n = counted.sum(axis=0)
            right = (counted & (played.rewards > 0)).sum(axis=0)
            np.divide(right, n, out=shares[:, distance - 1], where=n > 0)
        series.append(_mean(label, shares))
    return Signature(
        "Transitive inference: test trials by the distance of the two items",
        "distance of the ranks",
        "share of right answers",
        "bars",
        [str(distance) for distance in range(1, n_distances + 1)],
        series,
        ("chance", 0.5),
    )


SIGNATURES: dict[
    str,
    tuple[Callable[[Any], dict[str, ReferencePolicy]], Callable[[Players, Any], Signature]],
] = {
    "plasticrl/Bandit-v0": (_bandit_references, _bandit),
    "plasticrl/TwoStep-v0": (_two_step_references, _two_step),
    "plasticrl/Harlow-v0": (lambda options: {"optimal": HarlowPolicy()}, _harlow),
    "plasticrl/TransitiveInference-v0": (
        lambda options: (
            {}
            if options.schedule != "standard"
            else {"ideal observer": IdealObserver(options.first_test_trial, options.item_bits)}
        ),
        _transitive_inference,
    ),
}
"""For each environment, its reference policies and its picture, both from the batch's options."""
