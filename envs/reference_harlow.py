"""A policy for ``plasticrl.envs.harlow`` that is written by hand, to compare agents with.

    policy = HarlowPolicy(remembers=True)
    policy.reset(n_rows)                      # at the start of new episodes in all rows
    actions = policy.act(observations)        # at every step, (B, 14) -> (B,)

It uses the observations alone. With ``remembers``, it is optimal: it earns 6.2 on average in
episodes of 6 trials. Without, it walks the same shortest paths, but always chooses the object on
the left, which is the good one in half of the trials: it earns 1.2.
"""

import numpy as np

from plasticrl.envs.arrays import HostArray
from plasticrl.envs.harlow import CENTER, LEFT, REACH, TIME, VIEW

SIDE = CENTER - LEFT  # cells from the fixation to each object


class HarlowPolicy:
    """Walks to the fixation, then to the good object, or to the left one if it knows none.

    Args:
        remembers: chooses by the outcome of earlier trials; else always the object on the left.
    """

    def __init__(self, remembers: bool = True) -> None:
        self.remembers = remembers
        self.reset(0)

    def reset(self, n_rows: int) -> None:
        """Begin new episodes, of which nothing is known, in ``n_rows`` rows."""
        self._good = np.full(n_rows, np.nan)  # the good object, as it is seen
        self._pair = np.full((n_rows, 2), np.nan)  # the objects to the left and to the right
        self._action = np.zeros(n_rows, dtype=np.int64)  # the way that was chosen last

    def act(self, observation: HostArray) -> HostArray:
        """Return the actions (B,) for observations (B, 14)."""
        view, reward = observation[:, :VIEW], observation[:, TIME + 1]
        self._learn(reward)
        cells = view[:, [REACH - SIDE, REACH + SIDE]]
        appear = np.all(cells > 0, axis=1)  # the objects are there, and the agent between them
        self._pair = np.where(appear[:, None], cells, self._pair)
        to_right = (cells[:, 1] == self._good) & self.remembers
        self._action = np.where(appear, to_right, self._action)
        sees_fixation = (view == 1.0).any(axis=1)
        fixation_is_right = (view == 1.0).argmax(axis=1) > REACH
        self._action = np.where(sees_fixation, fixation_is_right, self._action)
        return self._action.copy()

    def _learn(self, reward: HostArray) -> None:
        """Store the good object if the reward (B,) is that of a choice."""
        chosen = self._pair[np.arange(len(reward)), self._action]
        other = self._pair[np.arange(len(reward)), 1 - self._action]
        self._good = np.where(reward == 1.0, chosen, np.where(reward == -1.0, other, self._good))
