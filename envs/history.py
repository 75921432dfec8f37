"""The history as part of the observation: previous action, previous reward and time.

With these inputs a recurrent agent can learn from its own rewards within an episode, as in "RL^2"
(Duan et al. 2016, arXiv 1611.02779; Wang et al. 2016, arXiv 1611.05763). At an episode's first step
the previous action is all zero, which is the code of no action.
"""

from typing import Any

import numpy as np
from gymnasium import Env, Wrapper
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space
from gymnasium.spaces.utils import flatten, flatten_space
from gymnasium.utils import RecordConstructorArgs

from plasticrl.envs import arguments
from plasticrl.envs.arrays import HostArray, Info


def history_table(n_actions: int, unused: int = 0) -> HostArray:
    """Tabulate the history by previous action, with time and reward zero.

    Args:
        n_actions: number A of actions.
        unused: inputs that stay zero, between the reward and the action.

    Returns:
        (A + 1, 2 + unused + A) float32; the last row, all zero, is for the first step.
    """
    return np.eye(n_actions + 1, 2 + unused + n_actions, k=2 + unused, dtype=np.float32)


class HistoryObservation(Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Add time, previous reward and previous action to the observation of any environment.

    A one-dimensional float observation (n,) becomes (n + 2 + A,): the observation, time, reward,
    action. Any other observation becomes a Dict of ``observation`` (unchanged), ``action`` (A,),
    ``reward`` (1,) and ``time`` (1,). The action is one-hot for Discrete, a one-hot code for each
    part of MultiDiscrete, the bits of MultiBinary and the numbers of Box.

    Args:
        env: an environment with one of these action spaces.
        horizon: number of steps after which time is 1 and stays 1; None stands for
            ``env.spec.max_episode_steps``.

    Raises:
        ValueError: the horizon is unknown, or the action space is of another kind.
    """

    def __init__(self, env: Env[Any, Any], horizon: int | None = None) -> None:
        RecordConstructorArgs.__init__(self, horizon=horizon)
        Wrapper.__init__(self, env)
        self.horizon = _horizon(env, horizon)
        actions = _action_box(env.action_space)
        space = env.observation_space
        self._flat = isinstance(space, Box) and len(space.shape) == 1 and space.dtype.kind == "f"
        make_space: Any = _longer if self._flat else _dict
        self.observation_space = make_space(space, actions)
        self._actions = actions
        self._nothing = np.zeros(actions.shape, dtype=actions.dtype)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        """Start an episode: time 0, no reward, no action."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._steps = 0
        return self._with_history(observation, 0.0, self._nothing), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Info]:
        """Step the environment; the observation includes this action and its reward."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        code = np.asarray(flatten(self.env.action_space, action), dtype=self._actions.dtype)
        # A Gaussian policy's action may lie outside the space, but the observation must not.
        code = np.clip(code, self._actions.low, self._actions.high)
        seen = self._with_history(observation, float(reward), code)
        return seen, reward, terminated, truncated, info

    def _with_history(self, observation: Any, reward: float, action: HostArray) -> Any:
        time = min(self._steps / self.horizon, 1.0)
        if not self._flat:
            return {
                "observation": observation,
                "action": action.copy(),
                "reward": np.array([reward], dtype=np.float32),
                "time": np.array([time], dtype=np.float32),
            }
        size = len(observation)
        out = np.zeros(self.observation_space.shape or (), dtype=self.observation_space.dtype)
        out[:size] = observation
        out[size : size + 2] = time, reward
        out[size + 2 :] = action
        return out


def _horizon(env: Env[Any, Any], horizon: int | None) -> int:
    if horizon is None:
        horizon = None if env.spec is None else env.spec.max_episode_steps
        if horizon is None:
            raise arguments.ArgumentError(
                "horizon must be given: the environment's spec does not say max_episode_steps"
            )
    return arguments.integer("horizon", horizon, minimum=1)


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


def _longer(space: Box, actions: Box) -> Box:
    low = np.concatenate([space.low, [0.0, -np.inf], actions.low]).astype(space.dtype)
    high = np.concatenate([space.high, [1.0, np.inf], actions.high]).astype(space.dtype)
    return Box(low, high, dtype=low.dtype.type)


def _dict(space: Space[Any], actions: Box) -> Dict:
    return Dict(
        {
            "observation": space,
            "action": actions,
            "reward": Box(-np.inf, np.inf, (1,), np.float32),
            "time": Box(0.0, 1.0, (1,), np.float32),
        }
    )
