"""The config of a training run. This module imports neither torch nor Stable-Baselines3."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from plasticrl.agents.options import A2COptions, check_above_zero, check_count
from plasticrl.core.cells.configs import CellConfig, PlasticRNNConfig
from plasticrl.runs import CONFIG_NAME, RunDirectory, RunError, UsageError, from_dict
from plasticrl.runs.memory import MOST_THREADS

KIND = "rl"
"""The ``kind`` in the run directory of an agent."""

OptionValue = int | float | bool | str | None


@dataclass(frozen=True, kw_only=True)
class A2CConfig(A2COptions):
    """The options of the algorithm and of its optimizer."""

    learning_rate_decay: float = 0.0
    """The last share of the training, in which the learning rate falls linearly to zero; 0: it is
    constant. If a run is resumed with more ``total_timesteps``, the learning rate rises again."""
    adam_eps: float = 1e-5
    """Adam's epsilon."""
    ortho_init: bool = True
    """SB3's orthogonal initialization of the heads. False: torch's, as in the papers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_above_zero(adam_eps=self.adam_eps)
        if not 0 <= self.learning_rate_decay <= 1:
            raise UsageError(
                f"learning_rate_decay must be from 0 to 1, not {self.learning_rate_decay}"
            )


@dataclass(frozen=True, kw_only=True)
class CurriculumConfig:
    """An option of the environment that becomes harder while the agent learns."""

    option: str | None = None
    """Name of the environment's option; None: no curriculum."""
    stages: tuple[int, ...] = ()
    """Values of the option in training, in order. The evaluation uses the value in env_kwargs."""
    threshold: float = 0.85
    """Reward per trial (per episode, if it has no trials) at which the next stage begins."""
    episodes: int = 100
    """Number of recent episodes over which the reward is averaged."""

    def __post_init__(self) -> None:
        check_count(episodes=self.episodes)
        if (self.option is None) != (not self.stages):
            raise UsageError("curriculum.option and curriculum.stages must be given together")
        if not math.isfinite(self.threshold):
            raise UsageError(f"threshold must be a finite number, not {self.threshold}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The complete config of a training run."""

    env_id: str = "plasticrl/GridMaze-v0"
    """A registered Gymnasium environment."""
    env_kwargs: dict[str, OptionValue] = field(default_factory=dict)
    """Options of the environment, as name=value; other options keep the preset's values."""
    history: bool = False
    """Add the previous action, the previous reward and the time to the observation (RL^2).
    The environments of this package already have them."""
    n_envs: int = 30
    """Number of environments that take steps together."""
    total_timesteps: int = 1_000_000
    """Total number of environment steps, rounded up to whole rollouts."""
    seed: int = 0
    """Seed of all random numbers."""
    device: str = "cpu"
    """cpu, cuda (or cuda:1, ...), or auto: cuda if it is available, else cpu."""
    threads: int = 1
    """Number of CPU threads that torch uses. Small nets run fastest on one, and two programs that
    both use all cores slow each other down."""
    checkpoint_every: int = 100
    """Updates between checkpoints."""
    core: CellConfig = field(default_factory=PlasticRNNConfig)
    """The recurrent core."""
    a2c: A2CConfig = field(default_factory=A2CConfig)
    """The algorithm."""
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    """How the environment becomes harder while the agent learns."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"([\w.]+:)?[^\s:]+", self.env_id):
            raise UsageError(
                "env_id must be the id of an environment, as CartPole-v1, with its module before a "
                f"colon if it has to be imported, not {self.env_id!r}"
            )
        check_count(
            n_envs=self.n_envs,
            total_timesteps=self.total_timesteps,
            checkpoint_every=self.checkpoint_every,
        )
        check_count(MOST_THREADS, threads=self.threads)
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"seed must be from 0 to {2**31 - 1}, not {self.seed}")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"device must be cpu, cuda, cuda:N or auto, not {self.device!r}")


def open_run(path: Path) -> tuple[RunDirectory, TrainConfig]:
    """Open an agent's run and read its config.

    Raises:
        RunError: the run is missing, damaged, or of another format or kind.
    """
    run = RunDirectory.open(path)
    if run.kind != KIND:
        raise RunError(f"{path} is a run of kind {run.kind!r}, not an agent's")
    return run, from_dict(TrainConfig, run.config, f"{path / CONFIG_NAME}: config")
