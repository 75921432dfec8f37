"""Trained agents that come with the package and can be watched without training.

    gallery/NAME/config.json                the config of the training run
    gallery/NAME/checkpoints/step_....pt    the weights only
    gallery/NAME/about.json                 the origin of the agent, and its measured rewards

Each folder is a run directory, made by ``tools/build_gallery.py``.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from plasticrl.runs import CONFIG_NAME, RunError, UsageError, from_dict, rounded

GALLERY = Path(__file__).parent
ABOUT_NAME = "about.json"


@dataclass(frozen=True, kw_only=True)
class About:
    """The origin of an agent, and its rewards per episode in an evaluation."""

    preset: str
    seed: int
    steps: int
    """Number of environment steps in the training."""
    commit: str
    """Commit of the code that trained the agent."""
    episodes: int
    reward_mean: float
    reward_ci95: tuple[float, ...]
    random_reward_mean: float
    """The reward of random actions."""
    ablated_reward_mean: float
    """The agent's reward with all plasticity coefficients set to zero."""
    reward_per_trial: float | None
    """The mean reward per trial; None if an episode has no trials."""

    def __str__(self) -> str:
        low, high = self.reward_ci95
        trial = "" if self.reward_per_trial is None else f", {self.reward_per_trial:.2f} a trial"
        return (
            f"{self.preset}, seed {self.seed}, {self.steps:,} steps at commit {self.commit}; "
            f"reward {rounded(self.reward_mean)} ({rounded(low)} to {rounded(high)}){trial} over "
            f"{self.episodes} episodes, {rounded(self.ablated_reward_mean)} with its plasticity "
            f"ablated, {rounded(self.random_reward_mean)} by a random walk"
        )


def names() -> list[str]:
    """The names of all agents."""
    return sorted(path.parent.name for path in GALLERY.glob(f"*/{CONFIG_NAME}"))


def folder(name: str) -> Path:
    """The run directory of an agent.

    Raises:
        UsageError: there is no agent of that name.
    """
    if name not in names():
        raise UsageError(f"the gallery has no agent {name!r}; it has {', '.join(names())}")
    return GALLERY / name


def about(name: str) -> About:
    """Read the origin and the rewards of an agent.

    Raises:
        UsageError: there is no agent of that name.
        RunError: its file is missing or damaged.
    """
    path = folder(name) / ABOUT_NAME
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}") from error
    return from_dict(About, data, str(path))
