"""The options of a plastic connection, as data. This module does not import torch."""

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, NamedTuple, get_args, get_type_hints

Rule = Literal["hebb", "oja"]
Bound = Literal["hard", "soft", "decay", "none"]
Alpha = Literal["connection", "neuron", "scalar"]
Modulation = Literal["none", "simple", "retroactive"]
Activation = Literal["tanh", "sigmoid", "linear"]
Distribution = Literal["uniform", "normal"]


class Condition(NamedTuple):
    """A rule that an option can be used only if another option has one of certain values."""

    option: str
    """The option that depends on the other one."""
    depends_on: str
    """The other option."""
    values: tuple[str, ...]
    """Values of the other option with which this option can be used."""
    reason: str
    """Why it cannot be used with other values."""
    choices: tuple[str, ...] = ()
    """Values of the option to which the rule applies; by default all but the default value."""

    def is_violated(self, values: dict[str, Any], unused: object) -> bool:
        """Whether options with these values violate the rule.

        Args:
            values: the values of all options.
            unused: the value of ``option`` that is always allowed, such as its default.
        """
        value = values[self.option]
        concerned = value in self.choices if self.choices else value != unused
        return bool(concerned and values[self.depends_on] not in self.values)

    def check(self, values: dict[str, Any], unused: object) -> None:
        """Raise ``OptionError`` if the condition is violated; see ``is_violated``."""
        if self.is_violated(values, unused):
            uses = " or ".join(f"{self.depends_on}={value!r}" for value in self.values)
            raise OptionError(
                f"{self.option}={values[self.option]!r} has no meaning with "
                f"{self.depends_on}={values[self.depends_on]!r}: {self.reason}; leave it out, or "
                f"use {uses}"
            )


class OptionError(ValueError):
    """An option of a cell does not exist, or has an invalid value.

    A message about a value begins with the option's name.
    """


def defaults(form: type[Any]) -> dict[str, Any]:
    """The options of a config class, with their defaults."""
    return {item.name: item.default for item in fields(form)}


def check_choices(config: Any) -> None:
    """Raise ``OptionError`` if a ``Literal`` field of a dataclass has an invalid value."""
    hints = get_type_hints(type(config))
    for name in defaults(type(config)):
        value, choices = getattr(config, name), get_args(hints[name])
        if choices and not (isinstance(value, str) and value in choices):
            raise OptionError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def check_positive(**values: float) -> None:
    """Raise ``OptionError`` unless every value is a finite number above zero."""
    for name, value in values.items():
        if not (_is_number(value) and value > 0):
            raise OptionError(f"{name} must be a finite number above 0, not {value!r}")


def check_size(**values: int) -> None:
    """Raise ``OptionError`` unless every value is an integer of at least 1."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise OptionError(f"{name} must be an integer of at least 1, not {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True, kw_only=True)
class Plasticity:
    """The options of a plastic connection.

    Raises:
        OptionError: for a value outside its range, or one that has no meaning with the value of
            another option.
    """

    conditions: ClassVar[tuple[Condition, ...]] = (
        Condition(
            "bound",
            "modulation",
            ("none", "simple"),
            "the decay (1 - eta) is already in the eligibility trace",
            choices=("decay",),
        ),
        Condition(
            "bound", "rule", ("hebb",), "Oja's rule has a decay of its own", choices=("decay",)
        ),
        Condition("clip", "bound", ("hard",), "only the hard bound clips at a chosen value"),
        Condition("fan_out", "modulation", ("simple", "retroactive"), "it needs a neuromodulator"),
        Condition(
            "modulator_activation",
            "modulation",
            ("simple", "retroactive"),
            "it needs a neuromodulator",
        ),
        Condition(
            "eta_init",
            "modulation",
            ("none", "retroactive"),
            "the modulation takes the place of eta",
        ),
    )

    rule: Rule = "hebb"
    """Learning rule: how pre- and post-synaptic activity change the trace."""
    bound: Bound = "hard"
    """How the trace is kept from growing without limit."""
    clip: float = 1.0
    """Largest absolute value of a trace under the hard bound."""
    alpha: Alpha = "connection"
    """One plasticity coefficient per connection, per post-synaptic neuron, or one for all."""
    modulation: Modulation = "none"
    """How a neuromodulator controls the rate at which the trace changes."""
    fan_out: bool = False
    """One modulation per post-synaptic neuron instead of one for the whole net."""
    modulator_activation: Activation = "tanh"
    """Output function of the neuromodulator."""
    eta_init: float = 0.1
    """Initial value of the trained plasticity rate eta, which simple modulation does not have."""
    alpha_init: Distribution = "uniform"
    """Distribution of the initial alpha: U(0, alpha_scale) or N(0, alpha_scale^2)."""
    alpha_scale: float = 0.01
    """Scale of the initial alpha."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_positive(clip=self.clip, alpha_scale=self.alpha_scale)
        if not _is_number(self.eta_init):
            raise OptionError(f"eta_init must be a finite number, not {self.eta_init!r}")
        if not isinstance(self.fan_out, bool):
            raise OptionError(f"fan_out must be true or false, not {self.fan_out!r}")
        options = defaults(type(self))
        values = {name: getattr(self, name) for name in options}
        for condition in self.conditions:
            condition.check(values, unused=options[condition.option])

    @property
    def has_eta(self) -> bool:
        """Whether there is a trained rate eta; in simple modulation, M(t) replaces it."""
        return self.modulation != "simple"
