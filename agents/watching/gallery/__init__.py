"""Trained agents that come with the package, to be watched without training.

gallery/NAME/config.json                as the training wrote it
gallery/NAME/checkpoints/step_....pt    the weights alone
gallery/NAME/about.json                 where the agent comes from, and what it was measured at

An agent here is a run directory like any other, and is loaded as strictly.
``tools/build_gallery.py`` makes one.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from plasticrl.runs import CONFIG_NAME, RunError, UsageError, from_dict

GALLERY = Path(__file__).parent
ABOUT_NAME = "about.json"


@dataclass(frozen=True, kw_only=True)
class About:
    """Where an agent comes from, and its reward per episode over held-out episodes."""

    preset: str
    seed: int
    steps: int
    """Environment steps it was trained for."""
    commit: str
    """Of the code that trained it."""
    episodes: int
    reward_mean: float
    reward_ci95: tuple[float, ...]
    random_reward_mean: float
    """A random walk's."""
    ablated_reward_mean: float
    """Its own with every plasticity coefficient zero."""
    reward_per_trial: float | None
    """Where an episode has trials; 1 is the most."""

    def __str__(self) -> str:
        low, high = self.reward_ci95
        trial = "" if self.reward_per_trial is None else f", {self.reward_per_trial:.2f} a trial"
        return (
            f"{self.preset}, seed {self.seed}, {self.steps:,} steps at commit {self.commit}; "
            f"reward {self.reward_mean:.1f} ({low:.1f} to {high:.1f}){trial} over "
            f"{self.episodes} episodes, {self.ablated_reward_mean:.1f} with its plasticity "
            f"ablated, {self.random_reward_mean:.1f} by a random walk"
        )


def names() -> list[str]:
    """The agents there are."""
    return sorted(path.parent.name for path in GALLERY.glob(f"*/{CONFIG_NAME}"))


def folder(name: str) -> Path:
    """The run directory of an agent.

    Raises:
        UsageError: there is none of that name; says which there are.
    """
    if name not in names():
        raise UsageError(f"the gallery has no agent {name!r}; it has {', '.join(names())}")
    return GALLERY / name


def about(name: str) -> About:
    """What is said of an agent.

    Raises:
        UsageError: as `folder`.
        RunError: what is installed is damaged.
    """
    path = folder(name) / ABOUT_NAME
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}") from error
    return from_dict(About, data, str(path))
