"""Plays the same episodes with and without plasticity, for the page that compares them."""

from dataclasses import replace

import numpy as np

from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.evaluation import rewards_by_step
from plasticrl.agents.watching.recording import frames_mode, record_episode
from plasticrl.viewer import EpisodeTrace
from plasticrl.viewer.page_text import Pair
from plasticrl.viewer.report import shrunk

N_SHOWN = 4
"""Number of episodes that the page plays."""
N_AVERAGED = 64
"""Number of episodes in the averages on the page, which need more than it plays."""


def play_pairs(
    agent: TrainedAgent, seed: int, deterministic: bool = False, episodes: int = N_SHOWN
) -> list[Pair]:
    """Play episodes. If the core is plastic, play each a second time with alpha set to zero.

    Args:
        agent, deterministic: as for ``record_episode``.
        seed: the seed of the first episode; episode k has the seed ``seed`` + k.
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
    """Return the rewards (T,) of each of ``N_AVERAGED`` episodes, with and without plasticity.

    The second list is empty if the core is not plastic.
    """

    def count(player: TrainedAgent) -> list[np.ndarray]:
        return rewards_by_step(player, N_AVERAGED, seed, deterministic)

    return count(agent), count(agent.ablate()) if agent.is_plastic else []
