"""How long an agent takes to its rewards: the number that falls when it learns within its life.

    first = steps up to first rewards / first rewards
    after = steps since first rewards / rewards since

over the episodes taken together. Steps that led to no reward count: who stops finding, or never
begins, is not spared. An agent that does not learn has both alike, whatever the episode's length.
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
        """The waits behind `rewards` (T,)."""
        steps = steps_to_rewards(rewards)
        return cls(steps, len(rewards) - sum(steps))


def first_and_after(episodes: Sequence[Waits]) -> tuple[float | None, float | None]:
    """Steps to the first reward, and to each later one, over episodes; None where there is none."""
    found = sum(bool(waits.steps) for waits in episodes)
    before = sum(waits.steps[0] if waits.steps else waits.rest for waits in episodes)
    later = sum(len(waits.steps) for waits in episodes) - found
    since = sum(sum(waits.steps) + waits.rest for waits in episodes) - before
    return (before / found if found else None), (since / later if later else None)


def tells_waits(episodes: Sequence[NDArray[Any]]) -> bool:
    """Whether waits say anything of these rewards: some is above 0, and they are rare."""
    rewards = np.concatenate(episodes)
    return bool((rewards > 0).any()) and rewards_are_rare(rewards)
