"""The environments in which ``check_recurrent`` tests an algorithm.

In shapes, B is the number of environments.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

CONTINUOUS = spaces.Box(-1e6, 1e6, (2,), np.float32)
DISCRETE = spaces.Discrete(3)
N_STEPS = 12
"""The number of steps for which ``predict`` is tested."""


@dataclass(frozen=True)
class Stream:
    """An environment whose observations and episode ends do not depend on the actions."""

    seed: int
    """Seed of the observations. With an odd seed, episodes are truncated; with an even one, they
    terminate."""
    length: int | None = None
    """Steps of an episode; None: it does not end."""
    repeats: bool = False
    """Whether all episodes have the same observations; else no two observations are equal."""


STREAMS = (Stream(0, 3), Stream(1, 5), Stream(2))


class StreamEnv(gym.Env[np.ndarray, Any]):
    """The environment that a ``Stream`` describes."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = spaces.Box(-1.0, 1.0, (4,), np.float32)

    def __init__(self, stream: Stream, action_space: spaces.Space[Any]) -> None:
        self.stream, self.action_space = stream, action_space
        self._n_shown = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._time = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._time += 1
        obs = self._observation()
        over = self._time == self.stream.length
        is_truncated = self.stream.seed % 2 == 1
        return obs, float(obs[0]), over and not is_truncated, over and is_truncated, {}

    def _observation(self) -> np.ndarray:
        index = self._time if self.stream.repeats else self._n_shown
        self._n_shown += 1
        return random_observations(self.stream.seed, index)


def random_observations(*seed: int, shape: tuple[int, ...] = ()) -> np.ndarray:
    """Draw observations (*shape, 4)."""
    return np.random.default_rng(seed).uniform(-1, 1, (*shape, 4)).astype(np.float32)


def starts_at(*steps: int, row: int | None = None, n_rows: int = 3) -> np.ndarray:
    """Episode starts (N_STEPS, n_rows): at ``steps[0]`` in all rows, at the others in ``row``."""
    starts = np.zeros((N_STEPS, n_rows), dtype=bool)
    starts[steps[0]] = True
    starts[list(steps[1:]), row] = True
    return starts


class Decision(NamedTuple):
    """The observations of B environments at one step, and the actions taken on them."""

    observations: np.ndarray
    """(B, 4)."""
    episode_starts: np.ndarray
    """(B,)."""
    actions: np.ndarray
    """(B, A)."""


class RecordedVecEnv(DummyVecEnv):
    """Environments that record each ``Decision``."""

    def __init__(self, streams: tuple[Stream, ...], action_space: spaces.Space[Any]) -> None:
        super().__init__([partial(StreamEnv, stream, action_space) for stream in streams])
        self.decisions: list[Decision] = []

    def reset(self) -> Any:
        obs = super().reset()
        self._shown = (obs, np.ones(self.num_envs, dtype=bool))
        return obs

    def step_async(self, actions: np.ndarray) -> None:
        obs, episode_starts = self._shown
        self.decisions.append(Decision(np.array(obs), episode_starts.copy(), np.array(actions)))
        super().step_async(actions)

    def step_wait(self) -> Any:
        obs, rewards, dones, infos = super().step_wait()
        self._shown = (obs, dones)
        return obs, rewards, dones, infos
