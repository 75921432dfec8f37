"""The same episodes with plasticity and without, for the page that shows them side by side."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from plasticrl.agents.policies import PlasticPolicy
from plasticrl.agents.training.config import TrainConfig
from plasticrl.agents.watching.evaluation import ablate, rewards_by_step
from plasticrl.agents.watching.recording import record_episode, render_modes, why_no_frames
from plasticrl.viewer import EpisodeTrace, save_report
from plasticrl.viewer.page_text import Pair
from plasticrl.viewer.report import shrunk
from plasticrl.viewer.story import has_maze

SHOWN = 4
COUNTED = 64
"""Episodes that the page's first line tells of: four would leave the ablated net's to chance."""


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

    def play(index: int, render_mode: str | None) -> Pair:
        def live(net: PlasticPolicy) -> EpisodeTrace:
            life = record_episode(
                net, config, preset, seed + index, render_mode, deterministic, net is ablated
            )
            return life if life.frames is None else replace(life, frames=shrunk(life.frames))

        return live(policy), None if ablated is None else live(ablated)

    first, mode = play(0, None), None
    if not has_maze(first[0]) and why_no_frames(config, render_modes(config)) is None:
        mode = "rgb_array"
        first = play(0, mode)
    return [first, *(play(index, mode) for index in range(1, episodes))]
