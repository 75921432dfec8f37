"""The config of a training run. This module imports neither torch nor Stable-Baselines3."""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from plasticrl.agents.options import (
    A2COptions,
    OnPolicyOptions,
    PPOOptions,
    check_above_zero,
    check_count,
)
from plasticrl.core.cells.configs import CellConfig, PlasticRNNConfig
from plasticrl.runs import CONFIG_NAME, RunDirectory, RunError, UsageError, check_seed, from_dict
from plasticrl.runs.memory import MOST_THREADS

KIND = "rl"
"""The ``kind`` in the run directory of an agent."""

OWN_MODULES = ("gymnasium.wrappers", "plasticrl.envs")
"""Modules that a run may name without being allowed to; see ``open_run``."""

OptionValue = int | float | bool | str | None


@dataclass(frozen=True, kw_only=True)
class AlgorithmConfig(OnPolicyOptions):
    """The options of an algorithm, and of its optimizer and heads."""

    learning_rate_decay: float = 0.0
    """The fraction of the training, at its end, in which the learning rate falls linearly to zero;
    0: it is constant. After a resumption with more ``total_timesteps``, it is higher again."""
    ent_coef_decay: float = field(default=0.0, metadata={"if_missing": 0.0})
    """The fraction of the training, at its end, in which ent_coef falls linearly to zero; 0: it is
    constant."""
    adam_eps: float = 1e-5
    """Adam's epsilon."""
    net_arch: tuple[int, ...] = ()
    """Units of the layers between the core and each head. In the papers there are none."""
    share_features_extractor: bool = field(default=True, metadata={"if_missing": True})
    """Actor and critic share the features extractor and the core. False: the critic has its own."""
    ortho_init: bool = True
    """SB3's orthogonal initialization of the heads. False: torch's, as in the papers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_above_zero(adam_eps=self.adam_eps)
        for n_units in self.net_arch:
            check_count(10**6, net_arch=n_units)
        for name in ("learning_rate_decay", "ent_coef_decay"):
            if not 0 <= (decay := getattr(self, name)) <= 1:
                raise UsageError(f"{name} must be from 0 to 1, not {decay}")


# The first base class determines the defaults.
@dataclass(frozen=True, kw_only=True)
class A2CConfig(A2COptions, AlgorithmConfig):
    """The config of RecurrentA2C."""


@dataclass(frozen=True, kw_only=True)
class PPOConfig(PPOOptions, AlgorithmConfig):
    """The config of RecurrentPPO."""


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
            raise UsageError(
                "curriculum.option and curriculum.stages must be given together; for no "
                "curriculum, give curriculum.option=None alone"
            )
        if not math.isfinite(self.threshold):
            raise UsageError(f"threshold must be a finite number, not {self.threshold}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The config of a training run, except the algorithm's, which a subclass adds."""

    name: ClassVar[str]
    """The name of the algorithm, and of the field with its config."""

    env_id: str = "plasticrl/GridMaze-v0"
    """A registered Gymnasium environment, as CartPole-v1, or module:MyEnv-v0 if a module has to be
    imported first."""
    env_kwargs: dict[str, OptionValue] = field(default_factory=dict)
    """Options of the environment, as NAME=VALUE; other options keep the preset's values."""
    history: bool = False
    """Add the previous action, the previous reward and the time to the observation (RL^2).
    The environments of this package already have them."""
    trials: int = 1
    """Number of episodes that make one lifetime (RL^2). With more than one, the state is kept from
    one to the next, and the observation has the previous action, the previous reward and whether an
    episode has just ended."""
    wrapper: tuple[str, ...] = ()
    """Wrappers of each environment, as module:Class, the innermost first."""
    processes: bool = False
    """Step each environment in its own process, which is faster if the environments are slow."""
    normalize: bool = False
    """Normalize observations (except images and discrete ones) and rewards by their running
    statistics, as SB3's VecNormalize does. The statistics are saved and restored with the run."""
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
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    """How the environment becomes harder while the agent learns."""

    @property
    def algorithm(self) -> AlgorithmConfig:
        """The config of the algorithm."""
        config: AlgorithmConfig = getattr(self, self.name)
        return config

    @property
    def modules(self) -> list[str]:
        """The modules of the environment and its wrappers, except ``OWN_MODULES``."""
        names = [name.rpartition(":")[0] for name in (self.env_id, *self.wrapper)]
        return sorted({name for name in names if name and name not in OWN_MODULES})

    def __post_init__(self) -> None:
        for wrapper in self.wrapper:
            if not re.fullmatch(r"[\w.]+:\w+", wrapper):
                raise UsageError(
                    "wrapper must be a module and a class, as "
                    f"gymnasium.wrappers:FlattenObservation, not {wrapper!r}"
                )
        if not re.fullmatch(r"([\w.]+:)?[^\s:]+", self.env_id):
            raise UsageError(
                "env_id must be the id of an environment, as CartPole-v1, with its module before a "
                f"colon if it has to be imported, not {self.env_id!r}"
            )
        check_count(
            n_envs=self.n_envs,
            trials=self.trials,
            total_timesteps=self.total_timesteps,
            checkpoint_every=self.checkpoint_every,
        )
        check_count(MOST_THREADS, threads=self.threads)
        check_seed(self.seed)
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"device must be cpu, cuda, cuda:N or auto, not {self.device!r}")


@dataclass(frozen=True, kw_only=True)
class A2CTrainConfig(TrainConfig):
    """The config of a run with RecurrentA2C."""

    name: ClassVar[str] = "a2c"
    a2c: A2CConfig = field(default_factory=A2CConfig)
    """The algorithm."""


@dataclass(frozen=True, kw_only=True)
class PPOTrainConfig(TrainConfig):
    """The config of a run with RecurrentPPO."""

    name: ClassVar[str] = "ppo"
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """The algorithm."""


class NotAllowedError(RunError):
    """A run names modules whose import has not been allowed.

    Attributes:
        problem: the message without the advice.
        modules: all modules that the run names.
    """

    def __init__(self, problem: str, modules: list[str]) -> None:
        super().__init__(f"{problem}: if you trust it, give allowed={modules}")
        self.problem, self.modules = problem, modules


def open_run(path: Path, allowed: Collection[str] = ()) -> tuple[RunDirectory, TrainConfig]:
    """Open an agent's run and read its config.

    Args:
        allowed: the modules that the config may name, which are imported later.

    Raises:
        RunError: the run is missing, damaged, or of another format or kind.
        NotAllowedError: it names a module that is not allowed.
    """
    run = RunDirectory.open(path)
    if run.kind != KIND:
        raise RunError(f"{path} is a run of kind {run.kind!r}, not an agent's")
    config = from_dict(TrainConfig, run.config, f"{path / CONFIG_NAME}: config")
    if foreign := [module for module in config.modules if module not in allowed]:
        raise NotAllowedError(
            f"{path / CONFIG_NAME} names the module {foreign[0]}, whose code would be run",
            config.modules,
        )
    return run, config
