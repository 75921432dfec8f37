"""The options of a plastic connection, as data."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

Rule = Literal["hebb", "oja"]
Bound = Literal["hard", "soft", "decay", "none"]
Alpha = Literal["connection", "neuron", "scalar"]
Modulation = Literal["none", "simple", "retroactive"]
Activation = Literal["tanh", "sigmoid", "linear"]
Distribution = Literal["uniform", "normal"]


def check_choices(config: Any) -> None:
    """Raise ``ValueError`` if a ``Literal`` field of a dataclass holds none of its values."""
    for name, hint in get_type_hints(type(config)).items():
        value, choices = getattr(config, name), get_args(hint)
        if choices and not (isinstance(value, str) and value in choices):
            raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def check_positive(**values: float) -> None:
    """Raise ``ValueError`` unless every value is a finite number above zero."""
    for name, value in values.items():
        if not (_is_number(value) and value > 0):
            raise ValueError(f"{name} must be a finite number above 0, not {value!r}")


def check_size(**values: int) -> None:
    """Raise ``ValueError`` unless every value is an integer of at least 1."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, not {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True, kw_only=True)
class Plasticity:
    """How the trace of a connection moves, and who says when.

    Raises:
        ValueError: for a value outside its range, and for a combination in which an
            option would have no meaning; the message says why.
    """

    rule: Rule = "hebb"
    """What one pair of activities adds to the trace (see ``rules``)."""
    bound: Bound = "hard"
    """What keeps the trace from growing (see ``rules``)."""
    clip: float = 1.0
    """Largest absolute value of a trace under ``bound="hard"``."""
    alpha: Alpha = "connection"
    """One plasticity coefficient per connection, per post-synaptic neuron, or one for all."""
    modulation: Modulation = "none"
    """Who sets the rate of plasticity (see ``modulation``)."""
    fan_out: bool = False
    """One modulation per post-synaptic neuron instead of one for the whole net."""
    modulator_activation: Activation = "tanh"
    """Output function of the neuromodulator."""
    eta_init: float = 0.1
    """Initial plasticity rate; trained from there. Not used by simple modulation."""
    alpha_init: Distribution = "uniform"
    """Distribution of the initial alpha: U(0, alpha_scale) or N(0, alpha_scale^2)."""
    alpha_scale: float = 0.01
    """Scale of the initial alpha."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_positive(clip=self.clip, alpha_scale=self.alpha_scale)
        if not _is_number(self.eta_init):
            raise ValueError(f"eta_init must be a finite number, not {self.eta_init!r}")
        if not isinstance(self.fan_out, bool):
            raise ValueError(f"fan_out must be true or false, not {self.fan_out!r}")
        self._check_combination()

    @property
    def has_eta(self) -> bool:
        """Whether a trained rate eta exists: under simple modulation M(t) takes its place."""
        return self.modulation != "simple"

    def _check_combination(self) -> None:
        default = {name: field.default for name, field in Plasticity.__dataclass_fields__.items()}
        if self.clip != default["clip"] and self.bound != "hard":
            raise ValueError(
                f"clip={self.clip} has no meaning with bound={self.bound!r}: "
                "only the hard bound clips at a chosen value (the soft one always ends at 1)"
            )
        if self.modulation == "none":
            for name in ("fan_out", "modulator_activation"):
                if getattr(self, name) != default[name]:
                    raise ValueError(
                        f"{name}={getattr(self, name)!r} needs a neuromodulator: "
                        "leave it out, or set modulation to 'simple' or 'retroactive'"
                    )
        if not self.has_eta and self.eta_init != default["eta_init"]:
            raise ValueError(
                f"eta_init={self.eta_init} has no meaning with modulation='simple': "
                "the modulation takes the place of eta"
            )
        if self.bound == "decay" and self.modulation == "retroactive":
            raise ValueError(
                "bound='decay' has no meaning with modulation='retroactive': the decay (1 - eta) "
                "is already in the eligibility trace; bound the trace by 'hard', 'soft' or 'none'"
            )
        if self.bound == "decay" and self.rule == "oja":
            raise ValueError(
                "bound='decay' has no meaning with rule='oja': Oja's rule has a decay of its own; "
                "bound the trace by 'none', 'hard' or 'soft'"
            )
