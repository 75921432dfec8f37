"""Several episodes of an environment as one lifetime, so that an agent learns across them."""

from typing import Any

import numpy as np
from gymnasium import Env, Wrapper
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs

from plasticrl.envs import arguments
from plasticrl.envs.arrays import Info
from plasticrl.envs.previous_step import PreviousStep


class Trials(Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Make ``n_trials`` episodes of an environment one episode, as in "RL^2".

    ## Description
    An episode of this wrapper is a lifetime, and an episode of the wrapped environment is one trial
    of it. (The paper calls a lifetime a trial, and a trial an episode.) When a trial ends, the next
    one begins within the same step, and the lifetime goes on. A recurrent agent, whose state is
    reset only where a lifetime starts, can use in each trial what it learned in those before. Its
    returns, too, go on across trials, so that exploring in one trial pays by rewards in later ones.

    Each trial begins with a reset of the environment. What the reset redraws is new in each trial;
    only what it leaves as it was can be learned across trials. If the reset redraws the task, such
    as the arms of a bandit, the task stays the same for a lifetime only where the environment has a
    reset option for that; ``trial_options`` passes it on. ``Trials`` cannot keep a task by itself:
    only the environment knows which of its random numbers make the task, and resets with the same
    seed would repeat all the others too, such as the noise of the rewards.

    ## Action Space
    That of the environment: Discrete, MultiDiscrete, MultiBinary or Box.

    ## Observation Space
    A one-dimensional float observation (n,) becomes (n + 2 + A,):

    | index | what | range |
    |---|---|---|
    | 0 to n - 1 | the environment's observation | |
    | n | 1 if the previous step ended a trial, else 0 | 0, 1 |
    | n + 1 | previous reward | |
    | n + 2 to n + 1 + A | previous action, coded as by ``HistoryObservation`` | |

    Any other observation becomes a Dict of ``observation`` (unchanged), ``trial_ended`` (1,),
    ``reward`` (1,) and ``action`` (A,). All but the observation are zero at the first step of a
    lifetime.

    The step that ends a trial returns the first observation of the next trial, with the action and
    the reward that ended the last one, and 1 for its end. The last observation of the trial is
    ``info["final_obs"]``, without these additions, and its info is ``info["final_info"]``: the
    names that Gymnasium's vector environments use when they reset within a step. The last trial's
    end returns that trial's own last observation and info.

    ## Rewards
    Those of the environment.

    ## Starting State
    That of the environment. A seed given to ``reset`` is for the first trial. All later trials, and
    later lifetimes that are reset without a seed, go on with the environment's random numbers, so
    that they differ from each other and a seed determines them all. Options given to ``reset``
    are for every trial of the lifetime.

    ## Episode End
    With the end of trial number ``n_trials``: terminated if that was terminated, truncated if it
    was truncated. A trial that never ends is the whole lifetime, which then never ends. At the last
    step, ``info`` has these entries:

    - ``trials``: the number of trials, which is ``n_trials``.
    - ``trial_rewards``: the total reward of each trial, (n_trials,).
    - ``trial_lengths``: the number of steps of each trial, (n_trials,).
    - ``episode``, if the environment is in a ``Monitor`` or a ``RecordEpisodeStatistics``: reward
      ``r`` and length ``l`` of the lifetime, instead of the last trial's.

    ## Arguments
    - ``env``: the environment.
    - ``n_trials``: trials in a lifetime, at least 1.
    - ``trial_options`` (None): a dict of reset options for all trials but a lifetime's first, as in
      ``Trials(env, 10, {"new_task": False})`` for an environment with an option of that name. They
      are added to the options given to ``reset``, and take precedence.

    An ``ArgumentError`` is raised for other values, and for another action space.

    ## References
    - Duan, Schulman, Chen, Bartlett, Sutskever & Abbeel 2016, "RL^2: Fast Reinforcement Learning
      via Slow Reinforcement Learning", arXiv 1611.02779, section 2.2.
    """

    def __init__(
        self, env: Env[Any, Any], n_trials: int, trial_options: Info | None = None
    ) -> None:
        n_trials = arguments.integer("n_trials", n_trials, minimum=1)
        if trial_options is not None and not isinstance(trial_options, dict):
            raise arguments.ArgumentError(
                f"trial_options must be None or a dict of reset options, got {trial_options!r}"
            )
        RecordConstructorArgs.__init__(self, n_trials=n_trials, trial_options=trial_options)
        Wrapper.__init__(self, env)
        self.n_trials = n_trials
        self._trial_options = dict(trial_options or {})
        self._options: Info = {}
        self._previous = PreviousStep(env, "trial_ended")
        self.observation_space = self._previous.observation_space
        # Of each trial so far, the present one included; empty outside of a lifetime.
        self._rewards: list[float] = []
        self._lengths: list[int] = []

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        """Start a lifetime with its first trial."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._options = {**(options or {}), **self._trial_options}
        self._rewards, self._lengths = [0.0], [0]
        return self._previous.add(observation, 0.0, 0.0, None), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Info]:
        """Step the environment, and reset it if that ends any trial but the last."""
        if not self._rewards:
            raise ResetNeeded("call reset: a lifetime has ended, or none has been started")
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._rewards[-1] += float(reward)
        self._lengths[-1] += 1
        ended = terminated or truncated
        if ended and len(self._rewards) < self.n_trials:
            observation, info = self._next_trial(observation, info)
            terminated = truncated = False
        elif ended:
            info = self._end_lifetime(info)
        seen = self._previous.add(observation, float(ended), float(reward), action)
        return seen, reward, terminated, truncated, info

    def _next_trial(self, final_observation: Any, final_info: Info) -> tuple[Any, Info]:
        observation, info = self.env.reset(options=dict(self._options) or None)
        self._rewards.append(0.0)
        self._lengths.append(0)
        return observation, {**info, "final_obs": final_observation, "final_info": final_info}

    def _end_lifetime(self, info: Info) -> Info:
        rewards, lengths = self._rewards, self._lengths
        self._rewards, self._lengths = [], []
        info = {
            **info,
            "trials": self.n_trials,
            "trial_rewards": np.array(rewards),
            "trial_lengths": np.array(lengths),
        }
        if "episode" in info:
            info["episode"] = {**info["episode"], "r": sum(rewards), "l": sum(lengths)}
        return info
