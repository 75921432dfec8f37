"""What every view says of an episode in words and numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from plasticrl.viewer.episode import EpisodeTrace

LARGEST_MAZE, MOST_CUES = 200, 64
"""Cells to a side, and cues and their bits, that can be drawn one by one."""


def absences(episode: EpisodeTrace) -> dict[str, str]:
    """What was not recorded, and why: part -> a line that stands in its place.

    The parts are `environment`, `trace` and `modulation`.
    """
    lines = {}
    known = has_maze(episode) or has_cues(episode)
    if episode.frames is None and episode.texts is None and not known:
        lines["environment"] = f"no picture of {episode.env_id}"
    if episode.synapses is None:
        lines["trace"] = "no trace or modulation: no plastic connections"
    elif episode.modulation is None:
        lines["modulation"] = "no modulation: no neuromodulator"
    return lines


def has_maze(episode: EpisodeTrace) -> bool:
    """Whether the episode tells of a maze: `walls` (n, m), `goal` and `agent` inside it."""
    walls, goal = episode.setting.get("walls"), episode.setting.get("goal")
    agent = episode.state.get("agent")
    if walls is None or goal is None or agent is None:
        return False
    return (
        (walls.dtype.kind, goal.dtype.kind, agent.dtype.kind) == ("b", "i", "i")
        and walls.ndim == 2
        and 0 < max(walls.shape) <= LARGEST_MAZE
        and (goal.shape, agent.shape) == ((2,), (episode.n_steps, 2))
        and all(bool((place >= 0).all() and (place < walls.shape).all()) for place in (goal, agent))
    )


def has_cues(episode: EpisodeTrace) -> bool:
    """Whether it tells of cues: `cues` (n, bits) and `target`, the `cue` seen, when to `go`."""
    cues, target = episode.setting.get("cues"), episode.setting.get("target")
    cue, go = episode.state.get("cue"), episode.state.get("go")
    if cues is None or target is None or cue is None or go is None:
        return False
    return (
        cues.ndim == 2
        and max(cues.shape) <= MOST_CUES
        and (target.shape, cue.shape, go.shape) == ((), (episode.n_steps,), (episode.n_steps,))
        and bool((cue < len(cues)).all())
    )


def path_to(episode: EpisodeTrace, step: int) -> NDArray[Any]:
    """(n, 2) where the agent of a maze has been since its last reward, the present place last."""
    rewarded = np.flatnonzero(episode.rewards[:step] > 0)
    start = int(rewarded[-1]) + 1 if len(rewarded) else 0
    path: NDArray[Any] = episode.state["agent"][start : step + 1]
    return path


def is_hit(episode: EpisodeTrace, step: int) -> bool:
    """Whether `step` earns a reward above zero: where every view lights a maze's goal."""
    return bool(episode.rewards[step] > 0)


def steps_to_rewards(rewards: NDArray[np.floating]) -> list[int]:
    """Steps from the episode's start, or from the reward before, to each reward above zero."""
    steps: list[int] = np.diff(np.flatnonzero(rewards > 0), prepend=-1).tolist()
    return steps


def worth_counting(rewards: NDArray[np.floating]) -> bool:
    """Whether the steps to each reward say something: rewards are rare, and never punish."""
    return rewards_are_rare(rewards) and bool((rewards >= 0).all())


def rewards_are_rare(rewards: NDArray[np.floating]) -> bool:
    """Whether single rewards are worth telling: at most every fourth step has one."""
    return bool(4 * np.count_nonzero(rewards) <= len(rewards))
