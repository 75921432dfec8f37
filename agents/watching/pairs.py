"""The same episodes with plasticity and without, for the page that shows them side by side."""

from dataclasses import replace

import numpy as np

from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.evaluation import rewards_by_step
from plasticrl.agents.watching.recording import record_episode, render_modes, why_no_frames
from plasticrl.viewer import EpisodeTrace
from plasticrl.viewer.page_text import Pair
from plasticrl.viewer.report import shrunk
from plasticrl.viewer.story import has_maze

SHOWN = 4
COUNTED = 64
"""Episodes that the page's first line tells of: four would leave the ablated net's to chance."""


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

    def play(index: int, render_mode: str | None) -> Pair:
        def live(player: TrainedAgent) -> EpisodeTrace:
            life = record_episode(player, seed + index, render_mode, deterministic)
            return life if life.frames is None else replace(life, frames=shrunk(life.frames))

        return live(agent), None if ablated is None else live(ablated)

    first, mode = play(0, None), None
    config = agent.config
    if not has_maze(first[0]) and why_no_frames(config, render_modes(config)) is None:
        mode = "rgb_array"
        first = play(0, mode)
    return [first, *(play(index, mode) for index in range(1, episodes))]


def count_rewards(
    agent: TrainedAgent, seed: int, deterministic: bool
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Rewards (T,) of many episodes, and of the same without plasticity; none without a trace."""

    def count(player: TrainedAgent) -> list[np.ndarray]:
        return rewards_by_step(player, COUNTED, seed, deterministic)

    return count(agent), count(agent.ablate()) if agent.is_plastic else []
