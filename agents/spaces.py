"""The observation and action spaces that the algorithms accept."""

from collections.abc import Mapping
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from plasticrl.runs import UsageError

MOST_CHOICES = 10**6
"""The largest number of discrete values: each is a unit of the net."""


def check_spaces(observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
    """Raise ``UsageError`` for a space that a policy cannot observe or act in."""
    parts: Any = {"the observation space": observation_space}
    if isinstance(observation_space, spaces.Dict):
        parts = {f"the observation {name!r}": part for name, part in observation_space.items()}
        if not parts:
            raise UsageError("the observation space Dict() is empty")
    for name, part in parts.items():
        _check(name, part)
        if isinstance(part, spaces.Box) and not part.shape:
            raise UsageError(
                f"{name} {part} must have an axis: reshape it to (1,) with "
                "gymnasium.wrappers.ReshapeObservation"
            )
    _check("the action space", action_space)
    if isinstance(action_space, spaces.Box) and not action_space.is_bounded():
        raise UsageError(
            f"the action space {action_space} must have finite bounds: set them with "
            "gymnasium.wrappers.RescaleAction, or in the environment"
        )
    if isinstance(action_space, spaces.MultiBinary) and len(action_space.shape) != 1:
        raise UsageError(f"the action space {action_space} must have one axis: flatten it")


def _check(name: str, space: spaces.Space[Any]) -> None:
    """Check what holds for observations and actions alike."""
    named = f"{name} {' '.join(str(space).split())}"
    known = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    if not isinstance(space, known):
        way_out = (
            "or one Dict of these: use a wrapper, such as gymnasium.wrappers.FlattenObservation"
            if "observation" in name
            else "use a wrapper that makes one of these"
        )
        raise UsageError(
            f"{name} is a {type(space).__name__}, but must be a Box, Discrete, MultiDiscrete or "
            f"MultiBinary space, {way_out}"
        )
    shape = space.shape or ()
    if 0 in shape:
        raise UsageError(f"{named} is empty")
    if isinstance(space, spaces.MultiDiscrete) and len(shape) != 1:
        raise UsageError(f"{named} must have one axis: flatten it")
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        n_choices = space.n if isinstance(space, spaces.Discrete) else space.nvec.sum()
        if n_choices > MOST_CHOICES:
            raise UsageError(
                f"{named} has {n_choices:,} values, but may have at most {MOST_CHOICES:,}"
            )
        if np.any(space.start):  # SB3 ignores it
            kind = "Action" if "action" in name else "Observation"
            raise UsageError(
                f"{named} must start at 0: shift it with a wrapper, as "
                f"gymnasium.wrappers.Transform{kind}"
            )


class CheckedEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Raises ``ValueError`` where SB3 would take a wrong value of an environment for another one.

    For example, SB3 repeats an observation of shape (1,) until it fits its space, and takes the
    word "False" as true.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        check_spaces(env.observation_space, env.action_space)
        super().__init__(env)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode and check the first observation."""
        obs, info = self.env.reset(**options)
        self._check_observation("reset", obs)
        return obs, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take a step and check what it returns."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._check_observation("step", obs)
        if isinstance(reward, str | bytes):
            raise ValueError(f"step returned the reward {reward!r:.80}, which is not a number")
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            if flag not in (True, False):
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
