"""How many steps an agent takes to its rewards, which fall if it learns within the episode.

    first = steps to an episode's first reward
    after = mean of its later waits, including the unfinished one at its end

Over several episodes, each is the mean over those with a reward, with equal weights. The unfinished
wait counts against an agent that stops finding rewards. For an agent that does not learn, both are
equal, even if some episodes are easier than others. Total steps divided by total rewards would be
smaller than the first wait in that case, since easy episodes have more of the rewards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plasticrl.viewer.story import rewards_are_rare, steps_to_rewards


@dataclass(frozen=True)
class Waits:
    """The waits of one episode.

    Attributes:
        steps: steps to each successive positive reward, the rewarded step included.
        rest: steps after the last of them.
    """

    steps: list[int]
    rest: int

    @classmethod
    def of(cls, rewards: NDArray[Any]) -> "Waits":
        """Compute the waits from ``rewards`` (T,)."""
        steps = steps_to_rewards(rewards)
        return cls(steps, len(rewards) - sum(steps))


def first_and_after(episodes: Sequence[Waits]) -> tuple[float | None, float | None]:
    """Return the mean steps to the first reward and to each later one; None without any."""
    found = [waits for waits in episodes if waits.steps]
    firsts = [waits.steps[0] for waits in found]
    later = [[*waits.steps[1:], *([waits.rest] if waits.rest else [])] for waits in found]
    means = [float(np.mean(waits)) for waits in later if waits]
    return (float(np.mean(firsts)) if firsts else None), (float(np.mean(means)) if means else None)


def waits_are_informative(episodes: Sequence[NDArray[Any]]) -> bool:
    """Whether waits are informative: some reward is positive, and rewards are rare."""
    rewards = np.concatenate(episodes)
    return bool((rewards > 0).any()) and rewards_are_rare(rewards)
