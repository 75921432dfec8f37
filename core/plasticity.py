"""The options of a plastic connection, as data. This module does not import torch."""

import math
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, NamedTuple, get_args, get_origin, get_type_hints

Rule = Literal["hebb", "oja", "delta", "abcd"]
Bound = Literal["hard", "soft", "decay", "none"]
Alpha = Literal["connection", "neuron", "scalar"]
Modulation = Literal["none", "simple", "retroactive", "gated"]
Modulator = Literal["single", "pair"]
Squash = Literal["none", "tanh"]
Activation = Literal["tanh", "sigmoid", "linear"]
Distribution = Literal["uniform", "normal"]


class Condition(NamedTuple):
    """A restriction: an option can be used only with certain values of another option."""

    option: str
    """The restricted option."""
    depends_on: str
    """The other option."""
    values: tuple[str, ...]
    """The values of ``depends_on`` with which ``option`` can be used."""
    reason: str
    """Why ``option`` cannot be used with other values; the error message shows it."""
    choices: tuple[str, ...] = ()
    """The values of ``option`` that are restricted; if empty, all except its default."""

    def is_violated(self, values: dict[str, Any], allowed: object) -> bool:
        """Return whether options violate the restriction.

        Args:
            values: the values of all options, by name.
            allowed: the value of ``option`` that is not restricted if ``choices`` is empty.
        """
        value = values[self.option]
        restricted = value in self.choices if self.choices else value != allowed
        return bool(restricted and values[self.depends_on] not in self.values)

    def check(self, values: dict[str, Any], allowed: object) -> None:
        """Raise ``OptionError`` if ``is_violated``."""
        if self.is_violated(values, allowed):
            uses = " or ".join(f"{self.depends_on}={value!r}" for value in self.values)
            raise OptionError(
                f"{self.option}={values[self.option]!r} has no meaning with "
                f"{self.depends_on}={values[self.depends_on]!r}: {self.reason}; leave it out, or "
                f"use {uses}"
            )


class OptionError(ValueError):
    """An option of a cell does not exist, or its value is invalid.

    If the value is invalid, the message begins with the option's name.
    """


def defaults(config_class: type[Any]) -> dict[str, Any]:
    """Return the default values of a config class's options, by name."""
    return {item.name: item.default for item in fields(config_class)}


def check_choices(config: Any) -> None:
    """Raise ``OptionError`` if a ``Literal`` field of a dataclass has an invalid value."""
    hints = get_type_hints(type(config))
    for name in defaults(type(config)):
        is_literal = get_origin(hints[name]) is Literal
        value, choices = getattr(config, name), get_args(hints[name]) if is_literal else ()
        if choices and not (isinstance(value, str) and value in choices):
            raise OptionError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


MAX_VALUE = 1e30
"""The largest value of a numeric option; products with larger ones may overflow float32."""


def check_positive(**values: float) -> None:
    """Raise ``OptionError`` unless every value is above 0 and at most ``MAX_VALUE``."""
    for name, value in values.items():
        if not (_is_number(value) and value > 0):
            raise OptionError(f"{name} must be a finite number above 0, not {value!r}")
        if value > MAX_VALUE:
            raise OptionError(f"{name} must be at most {MAX_VALUE:g}, not {value!r}")


def check_fraction(**values: float) -> None:
    """Raise ``OptionError`` unless every value is from 0 to 1."""
    for name, value in values.items():
        if not (_is_number(value) and 0 <= value <= 1):
            raise OptionError(f"{name} must be from 0 to 1, not {value!r}")


MAX_UNITS = 10**8
"""The largest width; the size of a much larger square matrix in bytes would overflow 64 bits."""


def check_size(maximum: int = MAX_UNITS, **values: Any) -> None:
    """Raise ``OptionError`` unless every value is an integer from 1 to ``maximum``."""
    for name, value in values.items():
        if type(value) is bool or not isinstance(value, Integral) or int(value) < 1:
            raise OptionError(f"{name} must be an integer of at least 1, not {value!r}")
        if int(value) > maximum:
            raise OptionError(f"{name} must be at most {maximum:,}, not {value!r}")


def check_index(**values: Any) -> None:
    """Raise ``OptionError`` unless every value is an integer of at least 0."""
    for name, value in values.items():
        if type(value) is bool or not isinstance(value, Integral) or int(value) < 0:
            raise OptionError(f"{name} must be an integer of at least 0, not {value!r}")


def check_truth(**values: Any) -> None:
    """Raise ``OptionError`` unless every value is ``True`` or ``False``."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise OptionError(f"{name} must be true or false, not {value!r}")


def _is_number(value: Any) -> bool:
    return type(value) is not bool and isinstance(value, Real) and math.isfinite(value)


@dataclass(frozen=True, kw_only=True)
class Plasticity:
    """The options of a plastic connection; ``connection`` and ``rules`` have the equations.

    Raises:
        OptionError: for a value that is invalid, or that cannot be used with another option's
            value; see ``conditions``.
    """

    conditions: ClassVar[tuple[Condition, ...]] = (
        Condition(
            "bound",
            "modulation",
            ("none", "simple"),
            "the eligibility trace, or with gated modulation the trace, already decays",
            choices=("decay",),
        ),
        Condition(
            "bound",
            "rule",
            ("hebb", "abcd"),
            "the other rules already contain a decay",
            choices=("decay",),
        ),
        Condition("clip", "bound", ("hard",), "only the hard bound uses clip"),
        Condition(
            "fan_out",
            "modulation",
            ("simple", "retroactive", "gated"),
            "it needs a neuromodulator or gates",
        ),
        *(
            Condition(option, "modulation", ("simple", "retroactive"), "it needs a neuromodulator")
            for option in ("modulator", "modulator_activation")
        ),
        Condition(
            "eligibility_squash", "modulation", ("retroactive",), "it needs an eligibility trace"
        ),
        Condition(
            "eta_init",
            "modulation",
            ("none", "retroactive"),
            "simple and gated modulation replace eta",
        ),
    )

    rule: Rule = "hebb"
    """Learning rule, which computes the increment of the trace. hebb: pre- times post-synaptic
    activity; oja: the same, minus the trace times the square of the post-synaptic activity; delta:
    what the trace has to add to recall the post-synaptic from the pre-synaptic activity;
    abcd: a sum of the product, the two activities and a constant, each with a trained coefficient
    for each connection."""
    bound: Bound = "hard"
    """How the trace is limited. hard: it is clipped to +-clip;
    soft: it stays within +-1, and changes less near these limits;
    decay: it decays at the rate at which increments are added; none: not at all."""
    clip: float = 1.0
    """Largest absolute value of the trace with bound=hard."""
    alpha: Alpha = "connection"
    """Number of trained plasticity coefficients, which multiply the trace. connection: one for
    each connection; neuron: one for each post-synaptic neuron; scalar: one for all."""
    modulation: Modulation = "none"
    """What sets the rate at which the trace changes. none: the trained number eta;
    simple: a neuromodulator's output at each step;
    retroactive: the same, but the increments first enter an eligibility trace, at rate eta;
    gated: one gate's output, while another gate multiplies the trace at each step."""
    modulator: Modulator = field(default="single", metadata={"if_missing": "single"})
    """What computes the neuromodulator's output. single: one unit; pair: the difference of two
    units, times a trained gain."""
    fan_out: bool = False
    """Give each post-synaptic neuron its own modulation, a trained linear function of the
    neuromodulator's output. False: all have the same modulation."""
    modulator_activation: Activation = "tanh"
    """Output function of the neuromodulator; linear is the identity."""
    eligibility_squash: Squash = field(default="none", metadata={"if_missing": "none"})
    """What limits an increment before it enters the eligibility trace. none: nothing; tanh: its
    hyperbolic tangent takes its place."""
    eta_init: float = 0.1
    """Initial value of the trained rate eta; modulation=simple and gated have no eta."""
    alpha_init: Distribution = "uniform"
    """Distribution of the initial plasticity coefficients.
    uniform: between 0 and alpha_scale; normal: around 0 with standard deviation alpha_scale."""
    alpha_scale: float = 0.01
    """Scale of the initial plasticity coefficients; see alpha_init."""
    train_weights: bool = field(default=True, metadata={"if_missing": True})
    """Train the weights of the plastic connection. False: they keep their random initial values,
    and only alpha, eta and the neuromodulator of the connection are trained."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_positive(clip=self.clip, alpha_scale=self.alpha_scale)
        if not _is_number(self.eta_init) or abs(self.eta_init) > MAX_VALUE:
            raise OptionError(f"eta_init must be a finite number, not {self.eta_init!r}")
        check_truth(fan_out=self.fan_out, train_weights=self.train_weights)
        options = defaults(type(self))
        values = {name: getattr(self, name) for name in options}
        for condition in self.conditions:
            condition.check(values, allowed=options[condition.option])

    @property
    def has_eta(self) -> bool:
        """Whether there is a trained rate eta; simple and gated modulation replace it."""
        return self.modulation in ("none", "retroactive")
