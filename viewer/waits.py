"""How long an agent takes to its rewards: the number that falls when it learns within its life.

    first = steps up to the first reward       after = steps since then / rewards since then

Steps at the end that led to no further reward count into `after`: who stops finding is not spared.
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

    @property
    def first(self) -> int | None:
        """Steps to the first reward; None if there is none."""
        return self.steps[0] if self.steps else None

    @property
    def since(self) -> int:
        """Steps since the first reward."""
        return sum(self.steps[1:]) + self.rest if self.steps else 0


def first_and_after(episodes: Sequence[Waits]) -> tuple[float | None, float | None]:
    """Mean steps to the first reward, and steps to each later one, over episodes; None for none.

    Episodes without any reward have no first; the page counts them apart.
    """
    firsts = [waits.first for waits in episodes if waits.first is not None]
    later = sum(max(0, len(waits.steps) - 1) for waits in episodes)
    since = sum(waits.since for waits in episodes)
    return (float(np.mean(firsts)) if firsts else None), (since / later if later else None)


def tells_waits(rewards: NDArray[Any]) -> bool:
    """Whether waits say anything: some reward is above 0, and rewards are rare."""
    return bool((rewards > 0).any()) and rewards_are_rare(rewards)
