"""The options of the algorithms, as data. This module imports neither torch nor SB3.

This is the only place for their names, defaults, ranges and help: the algorithms and the command
line all read them from here.
"""

import math
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Literal

from plasticrl.core import CELLS
from plasticrl.core.cells.configs import PlasticRNNConfig
from plasticrl.runs import UsageError

CORES = tuple(name for name, entry in CELLS.items() if not entry.takes_labels)
"""The names of the cells that a policy can have as its core."""
DEFAULT_CORE = PlasticRNNConfig(modulation="simple", fan_out=True)
"""The core of a policy with ``core=None``; ``core_kwargs`` change its options."""
SCHEDULES = ("learning_rate", "ent_coef", "clip_range", "clip_range_vf")
"""The options that may also be functions of the remaining progress."""
LARGEST_LEARNING_RATE = 1e6
"""A larger learning rate would make the weights overflow."""


@dataclass(frozen=True, kw_only=True)
class OnPolicyOptions:
    """The options that all algorithms have, under SB3's names.

    The presets choose their own values; see ``plasticrl.agents.training.presets``.

    Raises:
        UsageError: for a value outside its range.
    """

    n_steps: int = 32
    """Length of a rollout: steps per environment between two updates."""
    bptt_length: int | None = None
    """Steps after which backpropagation through time is truncated; None: the whole rollout."""
    learning_rate: float = 1e-3
    """Adam's step size."""
    core_lr_scale: float = field(default=0.3, metadata={"if_missing": 1.0})
    """The step size of the core's weights is learning_rate times this number. A small change of all
    recurrent weights can change the policy a lot."""
    gamma: float = 0.99
    """Discount factor."""
    gae_lambda: float = 0.95
    """Lambda of generalized advantage estimation; 1: the discounted return minus the value."""
    ent_coef: float = 0.01
    """Weight of the entropy term in the loss."""
    entropy: Literal["shannon", "simpson"] = "shannon"
    """Shannon's entropy, or the papers' sum of squared probabilities (discrete actions only)."""
    vf_coef: float = 0.5
    """Weight of the value loss."""
    max_grad_norm: float = 0.5
    """Norm at which the gradient is clipped."""
    normalize_advantage: bool = True
    """Scale the advantages of a rollout to zero mean and unit standard deviation."""
    normalize_returns: bool = True
    """Learn the values in units of the returns' running standard deviation (PopArt; van Hasselt et
    al. 2016, arXiv 1602.07714). Large rewards then do not make the value loss outweigh the policy
    loss."""
    bootstrap_truncated: bool = True
    """At a time limit, add the discounted value of the last observation to the reward, as SB3 does.
    False treats a time limit as a terminal state, as the papers do."""

    def __post_init__(self) -> None:
        check_count(n_steps=self.n_steps)
        for item in fields(self):
            value = getattr(self, item.name)
            if item.type is bool and not isinstance(value, bool):
                raise UsageError(f"{item.name} must be True or False, not {value!r}")
        if self.bptt_length is not None:
            check_count(bptt_length=self.bptt_length)
            if self.bptt_length > self.n_steps:
                raise UsageError(
                    f"bptt_length must be from 1 to n_steps={self.n_steps}, or None for the whole "
                    f"rollout, not {self.bptt_length}"
                )
        if self.entropy not in ("shannon", "simpson"):
            raise UsageError(f"entropy must be 'shannon' or 'simpson', not {self.entropy!r}")
        for name, value in {"gamma": self.gamma, "gae_lambda": self.gae_lambda}.items():
            if not (is_number(value) and 0 <= value <= 1):
                raise UsageError(f"{name} must be from 0 to 1, not {value!r}")
        check_above_zero(core_lr_scale=self.core_lr_scale)
        check_learning_rate(learning_rate=self.learning_rate, core_lr_scale=self.core_lr_scale)
        check_not_negative(ent_coef=self.ent_coef, vf_coef=self.vf_coef)
        if not (is_number(self.max_grad_norm) and self.max_grad_norm > 0):
            raise UsageError(f"max_grad_norm must be a number above 0, not {self.max_grad_norm!r}")


@dataclass(frozen=True, kw_only=True)
class A2COptions(OnPolicyOptions):
    """RecurrentA2C's options."""

    learning_rate: float = 1.5e-3
    """Adam's step size."""
    core_lr_scale: float = field(default=0.2, metadata={"if_missing": 1.0})
    """The step size of the core's weights is learning_rate times this number. A small change of all
    recurrent weights can change the policy a lot."""


@dataclass(frozen=True, kw_only=True)
class PPOOptions(OnPolicyOptions):
    """RecurrentPPO's options."""

    n_steps: int = 128
    """Length of a rollout: steps per environment between two updates."""
    batch_size: int = 256
    """Number of steps in a minibatch. It is rounded down to whole rollouts of some environments,
    but to no less than one."""
    n_epochs: int = 10
    """Number of epochs on each rollout."""
    clip_range: float = 0.2
    """The loss clips the ratio of new to old action probability to 1 +- this value."""
    clip_range_vf: float | None = None
    """Clipping range of the change of a value since the rollout; None: no clipping."""
    target_kl: float | None = None
    """Training on a rollout ends early when the approximate KL divergence of the new policy from
    the old one exceeds 1.5 times this value; None: never."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(batch_size=self.batch_size, n_epochs=self.n_epochs)
        check_above_zero(clip_range=self.clip_range)
        if self.clip_range_vf is not None:
            check_above_zero(clip_range_vf=self.clip_range_vf)
        if self.target_kl is not None:
            check_above_zero(target_kl=self.target_kl)


def is_number(value: object) -> bool:
    """Whether a value is a real number, of Python or NumPy, and not a bool."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_count(maximum: int = 10**15, **values: object) -> None:
    """Raise ``UsageError`` unless every value is an integer from 1 to ``maximum``."""
    for name, value in values.items():
        if not (is_number(value) and isinstance(value, Integral)) or value < 1:
            raise UsageError(f"{name} must be an integer of at least 1, not {value!r}")
        if int(value) > maximum:
            raise UsageError(f"{name} must be at most {maximum}, not {value!r}")


def check_above_zero(**values: float) -> None:
    """Raise ``UsageError`` unless every value is a finite number above zero."""
    for name, value in values.items():
        if not (is_number(value) and math.isfinite(value) and value > 0):
            raise UsageError(f"{name} must be a finite number above 0, not {value!r}")


def check_learning_rate(**values: float) -> None:
    """Raise ``UsageError`` unless every value is from 0 to ``LARGEST_LEARNING_RATE``."""
    check_not_negative(**values)
    for name, value in values.items():
        if value > LARGEST_LEARNING_RATE:
            raise UsageError(f"{name} must be at most {LARGEST_LEARNING_RATE:g}, not {value!r}")


def check_not_negative(**values: float) -> None:
    """Raise ``UsageError`` unless every value is a finite number of at least zero."""
    for name, value in values.items():
        if not (is_number(value) and math.isfinite(value) and value >= 0):
            raise UsageError(f"{name} must be a finite number of at least 0, not {value!r}")
