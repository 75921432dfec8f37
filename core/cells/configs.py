"""The options of every cell, as data. This module does not import torch.

A config class has the name of its cell in ``name`` and the options as fields. The command line
shows the fields, with their docstrings as help.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from plasticrl.core.plasticity import (
    Condition,
    Distribution,
    OptionError,
    Plasticity,
    check_positive,
    check_size,
    defaults,
)


@dataclass(frozen=True, kw_only=True)
class CellConfig:
    """The options of a cell: the base of every cell's config."""

    name: ClassVar[str]
    """The cell's name in ``plasticrl.core.CELLS``."""
    conditions: ClassVar[tuple[Condition, ...]] = ()
    """Rules that an option can be used only with certain values of another option."""


ConfigT = TypeVar("ConfigT", bound=CellConfig)


@dataclass(frozen=True, kw_only=True)
class SizedConfig(CellConfig):
    """The options of a cell of ``hidden_size`` units."""

    hidden_size: int = 100
    """Number of units."""

    def __post_init__(self) -> None:
        check_size(hidden_size=self.hidden_size)


@dataclass(frozen=True, kw_only=True)
class RNNConfig(SizedConfig):
    """A recurrent net of tanh units."""

    name: ClassVar[str] = "rnn"


@dataclass(frozen=True, kw_only=True)
class GRUConfig(SizedConfig):
    """A gated recurrent unit."""

    name: ClassVar[str] = "gru"


@dataclass(frozen=True, kw_only=True)
class LSTMConfig(SizedConfig):
    """A long short-term memory."""

    name: ClassVar[str] = "lstm"


@dataclass(frozen=True, kw_only=True)
class IdentityConfig(CellConfig):
    """No recurrence and no options: the output is the input."""

    name: ClassVar[str] = "identity"


@dataclass(frozen=True, kw_only=True)
class PlasticConfig(Plasticity, SizedConfig):
    """The options of a cell with a plastic connection."""

    def __post_init__(self) -> None:
        Plasticity.__post_init__(self)
        SizedConfig.__post_init__(self)


@dataclass(frozen=True, kw_only=True)
class PlasticRNNConfig(PlasticConfig):
    """A recurrent net of tanh units with plastic recurrent connections."""

    name: ClassVar[str] = "plastic_rnn"

    input_mode: Literal["weights", "additive", "clamped"] = "weights"
    """weights: by trained weights; additive: one input per unit; clamped: N values to which the
    units are set, then N masks, which are 0 where a unit is not set."""
    weight_init: Distribution = "uniform"
    """Distribution of the initial recurrent weights: U(0, weight_scale), N(0, weight_scale^2)."""
    weight_scale: float = 0.01
    """Scale of the initial recurrent weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(weight_scale=self.weight_scale)


@dataclass(frozen=True, kw_only=True)
class PlasticLSTMConfig(PlasticConfig):
    """An LSTM with plastic connections from the hidden activity to the candidate."""

    name: ClassVar[str] = "plastic_lstm"
    conditions: ClassVar[tuple[Condition, ...]] = (
        *Plasticity.conditions,
        Condition(
            "modulator_input",
            "modulation",
            ("simple", "retroactive"),
            "it needs a neuromodulator",
        ),
    )

    modulator_input: Literal["hidden", "cell"] = "hidden"
    """What the neuromodulator reads: the new hidden activity or the new cell activity."""


@dataclass(frozen=True, kw_only=True)
class PlasticReadoutConfig(PlasticConfig):
    """A plastic softmax layer of ``hidden_size`` classes. It cannot be modulated."""

    name: ClassVar[str] = "plastic_readout"

    hidden_size: int = 5
    """Number of classes, the width of the output."""
    label_gain: float = 1000.0
    """What a label adds to the drive of its class."""
    weight_init: Distribution = "normal"
    """Distribution of the initial weights: U(0, weight_scale) or N(0, weight_scale^2)."""
    weight_scale: float = 0.01
    """Scale of the initial weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(label_gain=self.label_gain, weight_scale=self.weight_scale)
        if self.modulation != "none":
            raise OptionError(
                f"modulation={self.modulation!r} has no meaning in plastic_readout: "
                "it has no recurrent activity that a neuromodulator could read"
            )


def vary(config: ConfigT, changes: dict[str, Any]) -> tuple[ConfigT, dict[str, Any]]:
    """Change options of a config, and reset those that no longer have a meaning.

    An option that is not in ``changes`` and has no meaning with the new values is reset to its
    default. For example, ``fan_out`` is reset if the modulation becomes "none".

    Args:
        changes: the new values by option. They are never reset, and must have a meaning with the
            other options even if they are the defaults; only ``False`` is always allowed.

    Returns:
        The new config, and the old values of the options that were reset.

    Raises:
        OptionError: for an unknown option, a value outside its range, or a change that has no
            meaning with the other options.
    """
    form = type(config)
    check_options(form, changes)
    options = defaults(form)
    values = {name: getattr(config, name) for name in options} | changes
    dropped = {}
    for condition in form.conditions:
        option, default = condition.option, options[condition.option]
        if option in changes:
            condition.check(values, unused=False)
        elif condition.is_violated(values, unused=default):
            dropped[option], values[option] = values[option], default
    return form(**values), dropped


def check_options(form: type[CellConfig], options: Iterable[str]) -> None:
    """Raise ``OptionError`` for an option that the cell does not have."""
    known = tuple(defaults(form))
    for option in options:
        if option not in known:
            listed = f"it has {', '.join(known)}" if known else "it has none"
            raise OptionError(f"core {form.name!r} has no option {option!r}; {listed}")
