"""Measuring, watching and recording a trained agent."""

import copy
import json
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector.utils import batch_space
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.utils import obs_as_tensor

from plasticrl.agents.acting import Actor
from plasticrl.agents.command_line import EvaluateArguments
from plasticrl.agents.config import TrainConfig, UsageError
from plasticrl.agents.policies import PlasticPolicy
from plasticrl.agents.recording import record_episode, render_modes
from plasticrl.agents.training import build_env, load_policy, user_errors
from plasticrl.viewer import EpisodeTrace, check_gif_path, save_gif, watch

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
    env = build_env(config, rows)
    env.seed(seed)
    obs = env.reset()
    random_actions = batch_space(env.action_space, rows)
    random_actions.seed(seed)
    act = None if policy is None else Actor(policy, policy.initial_state(rows))
    total, trials, playing = np.zeros(rows), np.zeros(rows), np.ones(rows, dtype=bool)
    while playing.any():
        if policy is None or act is None:
            actions = random_actions.sample()
        else:
            tensor, _ = act(obs_as_tensor(obs, policy.device), None, deterministic)  # type: ignore[arg-type]
            actions = policy.clip(tensor.cpu().numpy())
        obs, rewards, dones, infos = env.step(np.asarray(actions))
        total += rewards * playing
        for row in np.flatnonzero(dones & playing):
            trials[row] = infos[row].get("trials", 0)
        playing &= ~dones
    env.close()
    return total, trials


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
    arguments: EvaluateArguments, preset: str, config: TrainConfig, policy: PlasticPolicy
) -> dict[str, Any]:
    """Measure a policy; what ``evaluation.json`` holds."""
    ablated = ablate(policy) if arguments.ablate_plasticity else None
    options = (config, arguments.episodes, arguments.seed, arguments.deterministic)
    trained, random = measure(policy, *options), measure(None, *options)
    result: dict[str, Any] = {
        "env_id": config.env_id,
        "preset": preset,
        "episodes": arguments.episodes,
        **trained.described(),
        **random.described("random_"),
        "seed": arguments.seed,
        "deterministic": arguments.deterministic,
    }
    if ablated is not None:
        result |= measure(ablated, *options).described("ablated_")
    return result


def report(arguments: EvaluateArguments) -> int:
    """``evaluate.py``: record, measure, print, play; the exit status."""
    with user_errors():
        if arguments.record is not None:
            check_gif_path(arguments.record)
        run, config, policy = load_policy(arguments.run)

    def episode(render_mode: str | None) -> EpisodeTrace:
        """The first of the measured episodes."""
        title = f"{run.preset}, episode {arguments.seed}"
        seed, deterministic = arguments.seed, arguments.deterministic
        return record_episode(policy, config, title, seed, render_mode, deterministic)

    # Recorded before anything is measured: what cannot be drawn is said at once.
    filmed = episode(_film_mode(config)) if arguments.record is not None else None
    result = evaluate(arguments, run.preset, config, policy)
    run.write_evaluation(result)
    if arguments.json:
        print(json.dumps(result))
    else:
        Console().print(_table(result))
    if filmed is not None and arguments.record is not None:
        with user_errors():
            save_gif(filmed, arguments.record)
        print(f"recorded {arguments.record}", file=sys.stderr)
    if arguments.watch:
        watch(episode("ansi" if "ansi" in render_modes(config) else None), Console())
    return 0


def _film_mode(config: TrainConfig) -> str:
    if "rgb_array" not in render_modes(config):
        raise UsageError(f"--record: {config.env_id} gives no pictures (rgb_array)")
    return "rgb_array"


def _table(result: dict[str, Any]) -> Table:
    table = Table(title=f"{result['preset']}: reward per episode, {result['episodes']} episodes")
    table.add_column("agent")
    table.add_column("mean", justify="right")
    table.add_column("95 % interval", justify="right")
    by_trial = "reward_per_trial" in result
    if by_trial:
        table.add_column("per trial", justify="right")
    rows = {"random walk": "random_reward", "trained": "reward"}
    if "ablated_reward_mean" in result:
        rows["trained, plasticity ablated"] = "ablated_reward"
    for label, name in rows.items():
        low, high = result[f"{name}_ci95"]
        cells = [f"{result[f'{name}_mean']:.1f}", f"{low:.1f} to {high:.1f}"]
        if by_trial:
            cells.append(f"{result[f'{name}_per_trial']:.2f}")
        table.add_row(label, *cells)
    return table
