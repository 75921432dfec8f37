"""What a training run is, as data. Knows neither torch nor Stable-Baselines3."""

import math
import re
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from plasticrl.runs import UsageError

OptionValue = int | float | bool | str | None


@dataclass(frozen=True, kw_only=True)
class CoreConfig:
    """The recurrent core. None leaves an option at the core's own default."""

    name: str = "plastic_rnn"
    """rnn, gru, lstm, identity, plastic_rnn or plastic_lstm."""
    hidden_size: int | None = None
    """Number of units."""
    rule: str | None = None
    """Hebbian rule: hebb or oja."""
    bound: str | None = None
    """What bounds the trace: hard, soft, decay or none."""
    clip: float | None = None
    """Largest absolute trace under the hard bound."""
    alpha: str | None = None
    """Plasticity coefficients: one per connection, per neuron, or a single scalar."""
    modulation: str | None = None
    """Neuromodulation: none, simple or retroactive."""
    fan_out: bool | None = None
    """One modulation per neuron instead of one for the whole net."""
    modulator_activation: str | None = None
    """Output function of the neuromodulator: tanh, sigmoid or linear."""
    modulator_input: str | None = None
    """What the neuromodulator of plastic_lstm reads: hidden or cell."""
    eta_init: float | None = None
    """Initial plasticity rate."""
    alpha_init: str | None = None
    """Distribution of the initial alpha: uniform or normal."""
    alpha_scale: float | None = None
    """Scale of the initial alpha."""
    input_mode: str | None = None
    """How the input enters plastic_rnn: weights, additive or clamped."""
    weight_init: str | None = None
    """Distribution of plastic_rnn's initial recurrent weights: uniform or normal."""
    weight_scale: float | None = None
    """Scale of plastic_rnn's initial recurrent weights."""

    def options(self) -> dict[str, Any]:
        """The options that were chosen, as ``build_cell`` takes them."""
        chosen = {item.name: getattr(self, item.name) for item in fields(self)}
        return {key: value for key, value in chosen.items() if key != "name" and value is not None}


@dataclass(frozen=True, kw_only=True)
class A2CConfig:
    """RecurrentA2C's options, under SB3's names."""

    n_steps: int = 200
    """Steps per environment and update."""
    bptt_length: int | None = None
    """Steps after which the gradient through time is cut; None: the whole rollout."""
    learning_rate: float = 1e-3
    """Adam's step size."""
    learning_rate_decay: float = 0.0
    """Part of the training, at its end, in which the learning rate falls linearly to zero;
    0: never. Resuming with more --total-timesteps lifts it again."""
    adam_eps: float = 1e-5
    """Adam's epsilon."""
    gamma: float = 0.9
    """Discount factor."""
    gae_lambda: float = 1.0
    """1 gives the plain advantage."""
    ent_coef: float = 0.03
    """Weight of the entropy term."""
    entropy: Literal["shannon", "simpson"] = "simpson"
    """Shannon's entropy, or the papers' sum of squared probabilities."""
    vf_coef: float = 0.1
    """Weight of the value loss."""
    max_grad_norm: float = 4.0
    """Norm at which the gradient is clipped."""
    normalize_advantage: bool = False
    """Zero mean and unit deviation of the advantages within a rollout."""
    bootstrap_truncated: bool = True
    """At a time limit, add the value of what would have come. False: the papers' way."""
    ortho_init: bool = True
    """SB3's orthogonal initialisation of the heads. False: torch's, as in the papers."""


@dataclass(frozen=True, kw_only=True)
class CurriculumConfig:
    """An option of the environment that becomes harder while the agent learns."""

    option: str | None = None
    """The environment's option; None: no curriculum."""
    stages: tuple[int, ...] = ()
    """Its values, one after the other; evaluation is at the environment's own."""
    threshold: float = 0.85
    """Reward per trial (per episode, where there are no trials) at which the next stage begins."""
    episodes: int = 100
    """How many of the last episodes count."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run, whole."""

    env_id: str = "plasticrl/GridMaze-v0"
    """A registered Gymnasium environment."""
    env_kwargs: dict[str, OptionValue] = field(default_factory=dict)
    """The environment's options, as name=value; others keep the preset's value."""
    history: bool = False
    """Add previous action, previous reward and time to the observation (RL^2), for
    environments that do not show them."""
    n_envs: int = 30
    """Environments side by side."""
    total_timesteps: int = 1_000_000
    """Environment steps in all, rounded up to whole rollouts."""
    seed: int = 0
    """Seed of everything."""
    device: str = "cpu"
    """cpu, cuda (or cuda:1, ...), or auto for cuda where there is one."""
    threads: int = 1
    """Threads of torch on the CPU. Small nets run fastest on one, and two programs that both
    use all cores slow each other down many times."""
    checkpoint_every: int = 100
    """Updates between checkpoints."""
    core: CoreConfig = field(default_factory=CoreConfig)
    """The recurrent core. None leaves an option at the core's own default."""
    a2c: A2CConfig = field(default_factory=A2CConfig)
    """The algorithm."""
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    """What becomes harder while the agent learns."""

    def __post_init__(self) -> None:
        at_least_one = {
            "n_envs": self.n_envs,
            "total_timesteps": self.total_timesteps,
            "threads": self.threads,
            "checkpoint_every": self.checkpoint_every,
            "a2c.n_steps": self.a2c.n_steps,
            "curriculum.episodes": self.curriculum.episodes,
        }
        for name, value in at_least_one.items():
            if value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"seed must be from 0 to {2**31 - 1}, not {self.seed}")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"device must be cpu, cuda, cuda:N or auto, not {self.device!r}")
        if (self.curriculum.option is None) != (not self.curriculum.stages):
            raise UsageError("a curriculum needs both: curriculum.option and curriculum.stages")
        if not math.isfinite(self.curriculum.threshold):
            raise UsageError(
                f"curriculum.threshold must be a finite number, not {self.curriculum.threshold}"
            )
        if not 0 <= self.a2c.learning_rate_decay <= 1:
            raise UsageError(
                f"a2c.learning_rate_decay must be from 0 to 1, not {self.a2c.learning_rate_decay}"
            )
        above_zero = ("learning_rate", "adam_eps", "max_grad_norm")
        not_below_zero = ("ent_coef", "vf_coef", "gamma", "gae_lambda")
        for name in above_zero + not_below_zero:
            value = getattr(self.a2c, name)
            if not math.isfinite(value) or value < 0 or (value == 0 and name in above_zero):
                least = "above 0" if name in above_zero else "of at least 0"
                raise UsageError(f"a2c.{name} must be a finite number {least}, not {value}")
