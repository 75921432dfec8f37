"""The same episodes with plasticity and without it, for the page that compares the two."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from plasticrl.agents.policies import PlasticPolicy
from plasticrl.agents.training.config import TrainConfig
from plasticrl.agents.watching.evaluation import ablate, rewards_by_step
from plasticrl.agents.watching.recording import frames_mode, record_episode
from plasticrl.viewer import EpisodeTrace, save_report
from plasticrl.viewer.page_text import Pair
from plasticrl.viewer.report import shrunk

SHOWN = 4
COUNTED = 64
"""Episodes over which the page's first line averages: four would leave the means to chance."""


def write_page(
    policy: PlasticPolicy,
    config: TrainConfig,
    preset: str,
    seed: int,
    deterministic: bool,
    path: Path,
) -> None:
    """Play, and write the page to ``path``; arguments as ``play_pairs``."""
    pairs = play_pairs(policy, config, preset, seed, deterministic)

    def counted(net: PlasticPolicy) -> list[np.ndarray]:
        return rewards_by_step(net, config, COUNTED, seed, deterministic)

    ablated = [] if policy.core.connection is None else counted(ablate(policy))
    save_report(pairs, path, (counted(policy), ablated))


def play_pairs(
    policy: PlasticPolicy,
    config: TrainConfig,
    preset: str,
    seed: int,
    deterministic: bool = False,
    episodes: int = SHOWN,
) -> list[Pair]:
    """Play episodes, each twice if the core is plastic: as trained, and with alpha zero.

    Args:
        policy, config, preset, deterministic: as ``record_episode``.
        seed: of the first episode; the others follow.
        episodes: how many.
    """
    ablated = None if policy.core.connection is None else ablate(policy)
    render_mode = frames_mode(config)

    def play(net: PlasticPolicy, index: int) -> EpisodeTrace:
        episode = record_episode(
            net, config, preset, seed + index, render_mode, deterministic, net is ablated
        )
        if episode.frames is None:
            return episode
        return replace(episode, frames=shrunk(episode.frames))

    return [
        (play(policy, index), None if ablated is None else play(ablated, index))
        for index in range(episodes)
    ]
