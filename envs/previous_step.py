"""Adds the previous step's action and reward to observations, for the wrappers."""

from typing import Any, TypeGuard

import numpy as np
from gymnasium import Env
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space
from gymnasium.spaces.utils import flatten, flatten_space

from plasticrl.envs import arguments
from plasticrl.envs.arrays import HostArray


class PreviousStep:
    """Adds a number of the wrapper's own, the previous reward and the previous action.

    The format is the one that ``HistoryObservation`` describes, with the number in place of time.

    Args:
        env: the environment whose observations and actions these are.
        name: the number's key in a Dict; the number is from 0 to 1.

    Raises:
        ArgumentError: the action space is not one of those that ``HistoryObservation`` accepts.
    """

    def __init__(self, env: Env[Any, Any], name: str) -> None:
        self._name = name
        self._action_space = env.action_space
        self._codes = _action_box(env.action_space)
        space = env.observation_space
        self.observation_space: Any = (
            _longer(space, self._codes) if _is_flat(space) else _dict(space, self._codes, name)
        )
        self._flat = isinstance(self.observation_space, Box)

    def add(self, observation: Any, number: float, reward: float, action: Any | None) -> Any:
        """Return the observation with these added; ``action`` is None if there was none yet."""
        code = self._code(action)
        if not self._flat:
            return {
                "observation": observation,
                "action": code,
                "reward": np.array([reward], dtype=np.float32),
                self._name: np.array([number], dtype=np.float32),
            }
        size = len(observation)
        out = np.zeros(self.observation_space.shape, dtype=self.observation_space.dtype)
        out[:size] = observation
        out[size : size + 2] = number, reward
        out[size + 2 :] = code
        return out

    def _code(self, action: Any | None) -> HostArray:
        if action is None:
            return np.zeros(self._codes.shape, dtype=self._codes.dtype)
        code = np.asarray(flatten(self._action_space, action), dtype=self._codes.dtype)
        # A Gaussian policy's action may lie outside the space, but the observation must not.
        return np.clip(code, self._codes.low, self._codes.high)


def _action_box(space: Space[Any]) -> Box:
    """The space of the action as one vector, which includes zero for "no action yet"."""
    if not isinstance(space, Discrete | MultiDiscrete | MultiBinary | Box):
        raise arguments.ArgumentError(
            "the action space must be Discrete, MultiDiscrete, MultiBinary or Box, "
            f"got {type(space).__name__}"
        )
    flat = flatten_space(space)
    assert isinstance(flat, Box)
    low: HostArray = np.minimum(flat.low, 0.0)
    high: HostArray = np.maximum(flat.high, 0.0)
    return Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def _is_flat(space: Space[Any]) -> TypeGuard[Box]:
    return isinstance(space, Box) and len(space.shape) == 1 and space.dtype.kind == "f"


def _longer(space: Box, codes: Box) -> Box:
    low = np.concatenate([space.low, [0.0, -np.inf], codes.low]).astype(space.dtype)
    high = np.concatenate([space.high, [1.0, np.inf], codes.high]).astype(space.dtype)
    return Box(low, high, dtype=low.dtype.type)


def _dict(space: Space[Any], codes: Box, name: str) -> Dict:
    return Dict(
        {
            "observation": space,
            "action": codes,
            "reward": Box(-np.inf, np.inf, (1,), np.float32),
            name: Box(0.0, 1.0, (1,), np.float32),
        }
    )
