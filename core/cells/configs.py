"""The options of every cell, as data. This module does not import torch.

Each cell has a config class, whose fields are the cell's options. The command line shows them, with
their docstrings as help.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from plasticrl.core.plasticity import (
    Condition,
    Distribution,
    OptionError,
    Plasticity,
    check_choices,
    check_fraction,
    check_index,
    check_positive,
    check_size,
    check_truth,
    defaults,
)


@dataclass(frozen=True, kw_only=True)
class CellConfig:
    """The base class of all configs."""

    name: ClassVar[str]
    """The cell's name in ``plasticrl.core.CELLS``."""
    conditions: ClassVar[tuple[Condition, ...]] = ()
    """The restrictions between options."""


ConfigT = TypeVar("ConfigT", bound=CellConfig)


@dataclass(frozen=True, kw_only=True)
class SizedConfig(CellConfig):
    """The base class of the configs of cells that have ``hidden_size`` units."""

    hidden_size: int = 100
    """Number of units."""

    def __post_init__(self) -> None:
        check_size(hidden_size=self.hidden_size)


MAX_LAYERS = 100
MAX_INNER_STEPS = 1000


@dataclass(frozen=True, kw_only=True)
class LayeredConfig(SizedConfig):
    """The base class of the configs of cells that can be stacked in layers."""

    num_layers: int = field(default=1, metadata={"if_missing": 1})
    """Number of layers of hidden_size units. Each layer reads the output of the one before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(MAX_LAYERS, num_layers=self.num_layers)


@dataclass(frozen=True, kw_only=True)
class RNNConfig(LayeredConfig):
    """A recurrent net of tanh units, without plasticity."""

    name: ClassVar[str] = "rnn"


@dataclass(frozen=True, kw_only=True)
class GRUConfig(LayeredConfig):
    """A gated recurrent unit."""

    name: ClassVar[str] = "gru"


@dataclass(frozen=True, kw_only=True)
class LSTMConfig(LayeredConfig):
    """A long short-term memory."""

    name: ClassVar[str] = "lstm"


@dataclass(frozen=True, kw_only=True)
class IdentityConfig(CellConfig):
    """No recurrent net: the output is the input. There are no options."""

    name: ClassVar[str] = "identity"


@dataclass(frozen=True, kw_only=True)
class PlasticConfig(Plasticity, SizedConfig):
    """The base class of the configs of cells that have a plastic connection."""

    def __post_init__(self) -> None:
        Plasticity.__post_init__(self)
        super(Plasticity, self).__post_init__()  # of SizedConfig, or of LayeredConfig


@dataclass(frozen=True, kw_only=True)
class PlasticRNNConfig(PlasticConfig, LayeredConfig):
    """A recurrent net of tanh units with plastic recurrent connections."""

    name: ClassVar[str] = "plastic_rnn"
    conditions: ClassVar[tuple[Condition, ...]] = (
        *Plasticity.conditions,
        Condition(
            "num_layers",
            "input_mode",
            ("weights", "additive"),
            "a layer's output has no masks for the next layer",
        ),
    )

    input_mode: Literal["weights", "additive", "clamped"] = "weights"
    """How the input reaches the units. weights: through a trained linear layer;
    additive: the input has one number for each unit, which is added to its pre-activation;
    clamped: the input has a value for each unit, then a mask for each unit;
    the activity of a unit is its value where its mask is not 0."""
    weight_init: Distribution = "uniform"
    """Distribution of the initial recurrent weights.
    uniform: between 0 and weight_scale; normal: around 0 with standard deviation weight_scale."""
    weight_scale: float = 0.01
    """Scale of the initial recurrent weights; see weight_init."""
    trial_input: int | None = field(default=None, metadata={"if_missing": None})
    """Number of an input, from 0, that is not zero exactly at the first step of each trial. There,
    the activity and the eligibility trace are reset, and the trace is kept. None: never."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(weight_scale=self.weight_scale)
        if self.trial_input is not None:
            check_index(trial_input=self.trial_input)
            if self.input_mode != "weights" or self.num_layers > 1:
                raise OptionError(
                    "trial_input needs input_mode='weights' and num_layers=1, because only the "
                    "first layer has the observation as its input"
                )


@dataclass(frozen=True, kw_only=True)
class PlasticLSTMConfig(PlasticConfig, LayeredConfig):
    """An LSTM whose recurrent connections to the cell input (the candidate) are plastic."""

    name: ClassVar[str] = "plastic_lstm"
    conditions: ClassVar[tuple[Condition, ...]] = (
        *Plasticity.conditions,
        Condition(
            "modulator_input",
            "modulation",
            ("simple", "retroactive", "gated"),
            "it needs a neuromodulator or gates",
        ),
    )

    modulator_input: Literal["hidden", "cell"] = "hidden"
    """What the neuromodulator or the gates read. hidden: the LSTM's new output;
    cell: its new cell state."""


@dataclass(frozen=True, kw_only=True)
class FastWeightsConfig(LayeredConfig):
    """A recurrent net with fast weights, a matrix that is added to its own connections."""

    name: ClassVar[str] = "fast_weights"

    retention: float = 0.9
    """Factor of the fast weights at each step, from 0 to 1."""
    rate: float = 0.5
    """Factor of the product that is added to the fast weights at each step."""
    inner_steps: int = 1
    """Number of times that the fast weights act on the activity within one step."""
    normalize_first: bool = True
    """Normalize also the activity before the first of these times."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(rate=self.rate)
        check_fraction(retention=self.retention)
        check_size(MAX_INNER_STEPS, inner_steps=self.inner_steps)
        check_truth(normalize_first=self.normalize_first)


@dataclass(frozen=True, kw_only=True)
class STPNConfig(LayeredConfig):
    """A recurrent net of neurons with short-term plasticity, also in the inputs' connections."""

    name: ClassVar[str] = "stpn"

    coefficients: Literal["connection", "scalar"] = "connection"
    """Number of trained factors by which short-term weights decay and grow.
    connection: two for each connection; scalar: two for all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices(self)


@dataclass(frozen=True, kw_only=True)
class InnerGradientConfig(LayeredConfig):
    """A net of three plastic layers that follow the gradient of a loss of the net's own."""

    name: ClassVar[str] = "inner_gradient"

    inner_size: int = 64
    """Number of units of the first layer, and of the recurrent layer."""
    inner_rule: Literal["gradient", "hebb"] = "gradient"
    """What changes the traces. gradient: the gradient of the inner loss;
    hebb: the product of the pre- and post-synaptic activity, in each layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(inner_size=self.inner_size)
        check_choices(self)


@dataclass(frozen=True, kw_only=True)
class PlasticReadoutConfig(PlasticConfig):
    """A plastic softmax layer of ``hidden_size`` classes. It cannot be modulated."""

    name: ClassVar[str] = "plastic_readout"

    hidden_size: int = 5
    """Number of classes, the width of the output."""
    label_gain: float = 1000.0
    """Number that a label adds to the logit of its class. A large one makes the output one-hot."""
    weight_init: Distribution = "normal"
    """Distribution of the initial weights.
    uniform: between 0 and weight_scale; normal: around 0 with standard deviation weight_scale."""
    weight_scale: float = 0.01
    """Scale of the initial weights; see weight_init."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(label_gain=self.label_gain, weight_scale=self.weight_scale)
        if self.modulation != "none":
            raise OptionError(
                f"modulation={self.modulation!r} has no meaning in plastic_readout: "
                "it has no recurrent activity that a neuromodulator could read"
            )


def vary(config: ConfigT, changes: dict[str, Any]) -> tuple[ConfigT, dict[str, Any]]:
    """Return a config with changed options.

    An option that is not in ``changes`` is reset to its default if it cannot be used with the new
    values. For example, ``fan_out`` is reset if the modulation becomes "none".

    Args:
        changes: the new values by option. A value that cannot be used with the other options is an
            error, even if it is the option's default, unless it is ``False``.

    Returns:
        The new config, and the old values of the options that were reset.

    Raises:
        OptionError: for an unknown option, an invalid value, or a change that cannot be used with
            the other options.
    """
    config_class = type(config)
    check_options(config_class, changes)
    options = defaults(config_class)
    values = {name: getattr(config, name) for name in options} | changes
    reset = {}
    for condition in config_class.conditions:
        option, default = condition.option, options[condition.option]
        if option in changes:
            condition.check(values, allowed=False)
        elif condition.is_violated(values, allowed=default):
            reset[option], values[option] = values[option], default
    return config_class(**values), reset


def check_options(config_class: type[CellConfig], options: Iterable[str]) -> None:
    """Raise ``OptionError`` for an option that the cell does not have."""
    known = tuple(defaults(config_class))
    for option in options:
        if option not in known:
            listed = f"it has {', '.join(known)}" if known else "it has none"
            raise OptionError(f"core {config_class.name!r} has no option {option!r}; {listed}")
