"""Checks the environments that a training run makes."""

from collections.abc import Mapping
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from plasticrl.agents.spaces import check_spaces


class CheckedEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Checks what an environment returns, because SB3 silently converts some wrong values.

    For example, it broadcasts an observation of shape (1,) to the shape of its space, and treats
    the string "False" as true.

    Raises:
        UsageError: a policy cannot observe or act in the environment's spaces.
        ValueError: in ``reset`` and ``step``, for a wrong value.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        check_spaces(env.observation_space, env.action_space)
        super().__init__(env)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode and check the first observation."""
        obs, info = self.env.reset(**kwargs)
        self._check_observation("reset", obs)
        return obs, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take a step and check what it returns."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._check_observation("step", obs)
        if not isinstance(reward, SupportsFloat):
            raise ValueError(f"step returned the reward {reward!r:.80}, which is not a number")
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            if np.shape(flag) not in ((), (1,)) or flag not in (True, False):
                raise ValueError(f"step returned {name}={flag!r:.80}, which is not a bool")
        return obs, reward, terminated, truncated, info

    def _check_observation(self, method: str, obs: Any) -> None:
        space = self.env.observation_space
        expected = space.spaces if isinstance(space, spaces.Dict) else {"": space}
        parts = obs if isinstance(space, spaces.Dict) else {"": obs}
        if not isinstance(parts, Mapping) or parts.keys() != expected.keys():
            keys = list(expected)
            raise ValueError(f"{method} returned an observation whose keys are not {keys}")
        for name, part in parts.items():
            shape = np.shape(part)
            if shape != expected[name].shape:
                of = f" {name!r}" if name else ""
                raise ValueError(
                    f"{method} returned an observation{of} of shape {shape}, "
                    f"but its space has {expected[name].shape}"
                )
