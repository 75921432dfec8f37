"""How fast algorithms learn, beside those of Stable-Baselines3 and sb3-contrib.

    python -m benchmarks.learning FILE.jsonl --seconds 60 --seeds 0 1 2
    python -m benchmarks.learning FILE.jsonl --report

Every algorithm has its own defaults. It trains for the same CPU time, with one thread, in a process
of its own. A line of the file is one training: the mean reward of the last episodes at many points,
with the steps and the CPU seconds until then, so that algorithms can be compared both at equal
seconds and at equal steps. A training that the file has already is not repeated; begin a new file
after an algorithm or its defaults have changed. A line names the commit that it was measured with.

It needs ``minigrid``, ``popgym`` and ``sb3-contrib``.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from time import process_time
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation, TransformObservation
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import IdentityEnv, IdentityEnvBox
from stable_baselines3.common.vec_env import VecEnv

from benchmarks.machine import ROOT
from plasticrl.agents import RecurrentA2C, RecurrentPPO

N_ENVS = 8
N_LAST = 50
"""The mean reward is over this many of the last episodes."""
N_POINTS = 60
"""The number of points of a learning curve, at equal distances in time."""
STEP_POINTS = range(1024, 16 * 1024 + 1, 1024)
"""Numbers of steps at which there are further points, for the algorithms with few steps."""
PULLS = 50
GOOD_ARM, BAD_ARM = 0.9, 0.1
IMAGE_SCALE = 10


class Bandit(gym.Env[np.ndarray, Any]):
    """A bandit with two arms, of which one, drawn anew in each episode, pays more often.

    The observation is the last action (one-hot) and the last reward.
    """

    observation_space = spaces.Box(0, 1, (3,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw which arm is the good one."""
        super().reset(seed=seed)
        self.good = int(self.np_random.integers(2))
        self.n_pulls = 0
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Pull an arm."""
        chance = GOOD_ARM if action == self.good else BAD_ARM
        reward = float(self.np_random.random() < chance)
        self.n_pulls += 1
        observation = np.zeros(3, np.float32)
        observation[int(action)] = 1
        observation[2] = reward
        return observation, reward, self.n_pulls >= PULLS, False, {}


def _keeping(env_id: str, indices: list[int]) -> gym.Env[Any, Any]:
    """An environment whose observation keeps these numbers only, so not its velocities."""
    env = gym.make(env_id)
    space = env.observation_space
    assert isinstance(space, spaces.Box)
    kept = spaces.Box(space.low[indices], space.high[indices], dtype=np.float32)
    return TransformObservation(env, lambda observation: np.asarray(observation)[indices], kept)


def _memory_maze() -> gym.Env[Any, Any]:
    from minigrid.wrappers import ImgObsWrapper  # type: ignore[import-not-found]

    env = FlattenObservation(ImgObsWrapper(gym.make("MiniGrid-MemoryS7-v0")))
    space = spaces.Box(0, 255 / IMAGE_SCALE, env.observation_space.shape or (), np.float32)
    return TransformObservation(env, lambda image: image.astype(np.float32) / IMAGE_SCALE, space)


def _popgym(name: str) -> gym.Env[Any, Any]:
    env = gym.make(f"popgym:{name}")
    return FlattenObservation(env) if isinstance(env.observation_space, spaces.Tuple) else env


@dataclass(frozen=True)
class Environment:
    """An environment of the comparison."""

    make: Callable[[], gym.Env[Any, Any]]
    learned: float
    """The mean reward from which on we say that an algorithm has learned the task."""


ENVIRONMENTS = {
    "CartPole-v1": Environment(partial(gym.make, "CartPole-v1"), 450),
    "CartPole-v1 without velocities": Environment(partial(_keeping, "CartPole-v1", [0, 2]), 450),
    "Pendulum-v1": Environment(partial(gym.make, "Pendulum-v1"), -300),
    "Pendulum-v1 without velocity": Environment(partial(_keeping, "Pendulum-v1", [0, 1]), -300),
    "MiniGrid-MemoryS7-v0": Environment(_memory_maze, 0.8),
    "popgym-RepeatPreviousEasy-v0": Environment(
        partial(_popgym, "popgym-RepeatPreviousEasy-v0"), 0.8
    ),
    "popgym-AutoencodeEasy-v0": Environment(partial(_popgym, "popgym-AutoencodeEasy-v0"), 0.0),
    "popgym-NoisyPositionOnlyCartPoleEasy-v0": Environment(
        partial(_popgym, "popgym-NoisyPositionOnlyCartPoleEasy-v0"), 0.8
    ),
    "bandit": Environment(Bandit, 38),
    "SB3's IdentityEnv": Environment(lambda: IdentityEnv(10), 90),
    "SB3's IdentityEnvBox": Environment(partial(IdentityEnvBox, eps=0.5), 90),
}


def _contrib(policy: str, env: VecEnv, **options: Any) -> BaseAlgorithm:
    from sb3_contrib import RecurrentPPO as Theirs

    return Theirs(policy, env, **options)


ALGORITHMS: dict[str, Callable[..., BaseAlgorithm]] = {
    "SB3 A2C": partial(A2C, "MlpPolicy"),
    "SB3 PPO": partial(PPO, "MlpPolicy"),
    "sb3-contrib RecurrentPPO": partial(_contrib, "MlpLstmPolicy"),
    "RecurrentA2C": partial(RecurrentA2C, "PlasticPolicy"),
    "RecurrentPPO": partial(RecurrentPPO, "PlasticPolicy"),
    "RecurrentPPO, gru": partial(RecurrentPPO, "PlasticPolicy", policy_kwargs={"core": "gru"}),
}


class _Curve(BaseCallback):
    """Stop after some CPU seconds, and note the mean reward of the last episodes on the way."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.points: list[tuple[int, float, float]] = []

    def _on_training_start(self) -> None:
        self.start = process_time()
        self.due = self.seconds / N_POINTS

    def _on_step(self) -> bool:
        used = process_time() - self.start
        is_due = used >= self.due or self.num_timesteps in STEP_POINTS
        if is_due and self.model.ep_info_buffer:
            reward = mean(episode["r"] for episode in self.model.ep_info_buffer)
            self.points.append((self.num_timesteps, round(used, 2), round(reward, 3)))
        while used >= self.due:
            self.due += self.seconds / N_POINTS
        return used < self.seconds


def train(environment: str, algorithm: str, seed: int, seconds: float) -> dict[str, Any]:
    """Train, and return a line of the file."""
    torch.set_num_threads(1)
    env = make_vec_env(ENVIRONMENTS[environment].make, N_ENVS, seed=seed)
    # The first learning of a process compiles the loops or loads them, which is not counted.
    ALGORITHMS[algorithm](env, stats_window_size=N_LAST).learn(2 * N_ENVS)
    env = make_vec_env(ENVIRONMENTS[environment].make, N_ENVS, seed=seed)
    model = ALGORITHMS[algorithm](env, seed=seed, stats_window_size=N_LAST)
    curve = _Curve(seconds)
    model.learn(10**9, curve)
    return {
        "environment": environment,
        "algorithm": algorithm,
        "seed": seed,
        "seconds": seconds,
        "commit": _commit(),
        "curve": curve.points,
    }


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def compare(
    path: Path, environments: list[str], algorithms: list[str], seeds: list[int], seconds: float
) -> None:
    """Train the algorithms with every seed, and append a line for each to the file."""
    names = ("environment", "algorithm", "seed", "seconds")
    done = [[run[name] for name in names] for run in _read(path)]
    for seed in seeds:
        for environment in environments:
            for algorithm in algorithms:
                task = [environment, algorithm, seed, seconds]
                if task in done:
                    continue
                options = ["--task", json.dumps(task)]
                command = [sys.executable, "-m", "benchmarks.learning", str(path), *options]
                made = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
                with path.open("ab") as file:
                    file.write(made.stdout)


def report(runs: list[dict[str, Any]]) -> str:
    """The table: for every environment, the rewards at equal steps and at equal seconds.

    The number of steps is that of the training with the fewest. A third row has the seconds after
    which the reward was first that of a task that is learned.
    """
    algorithms = [name for name in ALGORITHMS if any(run["algorithm"] == name for run in runs)]
    lines = [
        f"| environment | at | {' | '.join(algorithms)} |",
        "|---|---|" + "---|" * len(algorithms),
    ]
    for environment, entry in ENVIRONMENTS.items():
        mine = [run for run in runs if run["environment"] == environment and run["curve"]]
        if not mine:
            continue
        n_steps = min(run["curve"][-1][0] for run in mine)
        rows: dict[str, Callable[[dict[str, Any]], float | None]] = {
            f"{n_steps:,} steps": partial(_reward_at, n_steps),
            f"{mine[0]['seconds']:g} s": lambda run: float(run["curve"][-1][2]),
        }
        cells = {
            name: [
                _cell([chosen(run) for run in mine if run["algorithm"] == algorithm], entry.learned)
                for algorithm in algorithms
            ]
            for name, chosen in rows.items()
        }
        cells[f"seconds to {entry.learned:g}"] = [
            _seconds([run for run in mine if run["algorithm"] == algorithm], entry.learned)
            for algorithm in algorithms
        ]
        lines += [f"| {environment} | {name} | {' | '.join(row)} |" for name, row in cells.items()]
    return "\n".join(lines)


def _reward_at(n_steps: int, run: dict[str, Any]) -> float | None:
    """The reward at the last point with at most so many steps; None if there is none."""
    before = [reward for steps, _, reward in run["curve"] if steps <= n_steps]
    return float(before[-1]) if before else None


def _cell(values: list[float | None], learned: float) -> str:
    """The median, the least and the largest of the values that are known."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    middle = sorted(known)[len(known) // 2]
    text = f"{middle:.4g} ({min(known):.4g} to {max(known):.4g})"
    return f"**{text}**" if middle >= learned else text


def _seconds(runs: list[dict[str, Any]], learned: float) -> str:
    """For every seed in order, the seconds until the reward was first so high; - for never."""
    found = []
    for run in sorted(runs, key=lambda run: run["seed"]):
        after = next((seconds for _, seconds, reward in run["curve"] if reward >= learned), None)
        found.append("-" if after is None else f"{after:.0f}")
    return ", ".join(found) or "-"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare how fast algorithms learn.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--environments", nargs="+", choices=ENVIRONMENTS, default=[*ENVIRONMENTS])
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=[*ALGORITHMS])
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--task", type=json.loads)
    given = parser.parse_args()
    if given.task:
        print(json.dumps(train(*given.task)))
    elif given.report:
        print(report([run for run in _read(given.file) if run["seconds"] == given.seconds]))
    else:
        compare(given.file, given.environments, given.algorithms, given.seeds, given.seconds)


if __name__ == "__main__":
    main()
