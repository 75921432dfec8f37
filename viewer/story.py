"""Facts about an episode that every view shows alike."""

import numpy as np
from numpy.typing import NDArray

from plasticrl.viewer.episode import EpisodeTrace


def absences(episode: EpisodeTrace, shows_texts: bool = True) -> dict[str, str]:
    """Say what cannot be shown, and why: part -> a line to show in its place.

    The parts are ``environment``, ``trace`` and ``modulation``. Without ``shows_texts``, a text is
    no picture of the environment.
    """
    lines = {}
    if not episode.has_picture and not (shows_texts and episode.texts is not None):
        lines["environment"] = f"no picture of {episode.env_id}"
    if episode.synapses is None:
        lines["trace"] = "no trace or modulation: no plastic connections"
    elif episode.modulation is None:
        lines["modulation"] = "no modulation: no neuromodulator"
    return lines


def is_hit(episode: EpisodeTrace, step: int) -> bool:
    """Whether ``step`` earns a positive reward: then every view lights the scene's goal."""
    return bool(episode.rewards[step] > 0)


def steps_to_rewards(rewards: NDArray[np.floating]) -> list[int]:
    """Return the steps to each positive reward, from the one before or from the start."""
    steps: list[int] = np.diff(np.flatnonzero(rewards > 0), prepend=-1).tolist()
    return steps


def worth_counting(rewards: NDArray[np.floating]) -> bool:
    """Whether the steps to each reward are informative: rewards are rare and never negative."""
    return rewards_are_rare(rewards) and bool((rewards >= 0).all())


def rewards_are_rare(rewards: NDArray[np.floating]) -> bool:
    """Whether at most every fourth step has a reward, so that single rewards are worth showing."""
    return bool(4 * np.count_nonzero(rewards) <= len(rewards))
