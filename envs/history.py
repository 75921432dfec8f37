"""The history as part of the observation: previous action, previous reward and time.

With these inputs a recurrent agent can learn from its own rewards within an episode, as in "RL^2"
(Duan et al. 2016, arXiv 1611.02779; Wang et al. 2016, arXiv 1611.05763). At an episode's first step
the previous action is all zero, which is the code of no action.
"""

from typing import Any

import numpy as np
from gymnasium import Env, Wrapper
from gymnasium.utils import RecordConstructorArgs
from gymnasium.wrappers import TimeLimit

from plasticrl.envs import arguments
from plasticrl.envs.arrays import HostArray, Info
from plasticrl.envs.previous_step import PreviousStep
from plasticrl.envs.trials import Trials


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
    part of MultiDiscrete, the bits of MultiBinary and the numbers of Box. Stable-Baselines3 takes
    no Dict within a Dict: flatten a Dict or a Tuple first, as in
    ``HistoryObservation(gymnasium.wrappers.FlattenObservation(env))``.

    Args:
        env: an environment with one of these action spaces.
        horizon: number of steps after which time is 1 and stays 1; None stands for
            ``env.spec.max_episode_steps``, which is multiplied by ``n_trials`` around ``Trials``.

    Raises:
        ValueError: the horizon is unknown, or the action space is of another kind.
    """

    def __init__(self, env: Env[Any, Any], horizon: int | None = None) -> None:
        RecordConstructorArgs.__init__(self, horizon=horizon)
        Wrapper.__init__(self, env)
        self.horizon = _horizon(env, horizon)
        self._previous = PreviousStep(env, "time")
        self.observation_space = self._previous.observation_space
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        """Start an episode: time 0, no reward, no action."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._steps = 0
        return self._previous.add(observation, 0.0, 0.0, None), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Info]:
        """Step the environment; the observation includes this action and its reward."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        time = min(self._steps / self.horizon, 1.0)
        seen = self._previous.add(observation, time, float(reward), action)
        return seen, reward, terminated, truncated, info


def _horizon(env: Env[Any, Any], horizon: int | None) -> int:
    if horizon is None:
        horizon = None if env.spec is None else env.spec.max_episode_steps
        if horizon is None:
            raise arguments.ArgumentError(
                "horizon must be given: the environment's spec does not say max_episode_steps"
            )
        # The spec's number of steps is that of the outermost TimeLimit.
        while isinstance(env, Wrapper) and not isinstance(env, TimeLimit):
            horizon *= env.n_trials if isinstance(env, Trials) else 1
            env = env.env
    return arguments.integer("horizon", horizon, minimum=1)
