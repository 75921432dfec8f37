"""The same episodes with plasticity and without it, for the page that compares the two."""

from dataclasses import replace

import numpy as np

from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.evaluation import rewards_by_step
from plasticrl.agents.watching.recording import frames_mode, record_episode
from plasticrl.viewer import EpisodeTrace
from plasticrl.viewer.page_text import Pair
from plasticrl.viewer.report import shrunk

SHOWN = 4
COUNTED = 64
"""Episodes over which the page's first line averages: four would leave the means to chance."""


def play_pairs(
    agent: TrainedAgent, seed: int, deterministic: bool = False, episodes: int = SHOWN
) -> list[Pair]:
    """Play episodes, each twice if the core is plastic: as trained, and with alpha zero.

    Args:
        agent, deterministic: as ``record_episode``.
        seed: of the first episode; the others follow.
        episodes: how many.
    """
    ablated = agent.ablate() if agent.is_plastic else None
    render_mode = frames_mode(agent.config)

    def play(player: TrainedAgent, index: int) -> EpisodeTrace:
        episode = record_episode(player, seed + index, render_mode, deterministic)
        if episode.frames is None:
            return episode
        return replace(episode, frames=shrunk(episode.frames))

    return [
        (play(agent, index), None if ablated is None else play(ablated, index))
        for index in range(episodes)
    ]


def count_rewards(
    agent: TrainedAgent, seed: int, deterministic: bool
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Rewards (T,) of many episodes, and of the same without plasticity; none without a trace."""

    def count(player: TrainedAgent) -> list[np.ndarray]:
        return rewards_by_step(player, COUNTED, seed, deterministic)

    return count(agent), count(agent.ablate()) if agent.is_plastic else []
