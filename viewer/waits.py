"""How long an agent takes to its rewards: the number that falls when it learns within its life.

    first = steps to an episode's first reward
    after = mean of its later waits, the unfinished one at its end among them

and of several episodes the mean over those with a reward, each counting alike. So who stops finding
is not spared, and an agent that does not learn has both alike, however its episodes differ: total
steps by total rewards would fall for it too, as easy episodes have more of the rewards.
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
        steps: steps to each successive reward above 0, the rewarded step included.
        rest: steps after the last of them.
    """

    steps: list[int]
    rest: int

    @classmethod
    def of(cls, rewards: NDArray[Any]) -> "Waits":
        """The waits behind ``rewards`` (T,)."""
        steps = steps_to_rewards(rewards)
        return cls(steps, len(rewards) - sum(steps))


def first_and_after(episodes: Sequence[Waits]) -> tuple[float | None, float | None]:
    """Steps to the first reward, and to each later one, over episodes; None where there is none."""
    found = [waits for waits in episodes if waits.steps]
    firsts = [waits.steps[0] for waits in found]
    later = [[*waits.steps[1:], *([waits.rest] if waits.rest else [])] for waits in found]
    means = [float(np.mean(waits)) for waits in later if waits]
    return (float(np.mean(firsts)) if firsts else None), (float(np.mean(means)) if means else None)


def tells_waits(episodes: Sequence[NDArray[Any]]) -> bool:
    """Whether waits say anything of these rewards: some is above 0, and they are rare."""
    rewards = np.concatenate(episodes)
    return bool((rewards > 0).any()) and rewards_are_rare(rewards)
