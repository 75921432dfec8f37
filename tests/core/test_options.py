"""Combinations of options that have a meaning work and have an effect; others are rejected."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from torch import Tensor

from plasticrl.core import CELLS, Cell, Plasticity, build_cell, sequence
from plasticrl.core.rules import BOUNDS, RULES

CHOICES: dict[str, tuple[Any, ...]] = {
    "rule": ("hebb", "oja", "delta", "abcd"),
    "bound": ("hard", "soft", "decay", "none"),
    "clip": (1.0, 0.5),
    "alpha": ("connection", "neuron", "scalar"),
    "modulation": ("none", "simple", "retroactive", "gated"),
    "modulator": ("single", "pair"),
    "eligibility_squash": ("none", "tanh"),
    "fan_out": (False, True),
    "modulator_activation": ("tanh", "sigmoid", "linear"),
    "eta_init": (0.1, 0.2),
}
PLASTIC_CELLS = [name for name, (config, *_) in CELLS.items() if issubclass(config, Plasticity)]


def literals_of(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()


def choices_of(config: type[Any]) -> dict[str, tuple[Any, ...]]:
    """The options that have a fixed set of values, with these values."""
    hints = get_type_hints(config)
    choices = {field.name: literals_of(hints[field.name]) for field in dataclasses.fields(config)}
    return {name: values for name, values in choices.items() if values}


def without_meaning(options: dict[str, Any]) -> set[str]:
    """The options that have no meaning in a combination, according to the equations."""
    modulation, bound = options["modulation"], options["bound"]
    has_modulator = modulation in ("simple", "retroactive")
    return {
        name
        for name, at_fault in {
            "clip": options["clip"] != 1.0 and bound != "hard",
            "fan_out": options["fan_out"] and modulation == "none",
            "modulator": options["modulator"] == "pair" and not has_modulator,
            "modulator_activation": options["modulator_activation"] != "tanh" and not has_modulator,
            "eligibility_squash": options["eligibility_squash"] != "none"
            and modulation != "retroactive",
            "eta_init": options["eta_init"] != 0.1 and modulation in ("simple", "gated"),
            "bound": bound == "decay"
            and (modulation in ("retroactive", "gated") or options["rule"] in ("oja", "delta")),
        }.items()
        if at_fault
    }


def combinations() -> Iterator[dict[str, Any]]:
    for values in itertools.product(*CHOICES.values()):
        yield dict(zip(CHOICES, values, strict=True))


def refusal(options: dict[str, Any]) -> str | None:
    try:
        Plasticity(**options)
    except ValueError as error:
        return str(error)
    return None


def test_the_choices_in_this_file_are_complete() -> None:
    """Otherwise the two tests below do not cover some value."""
    listed = choices_of(Plasticity)
    assert listed.pop("alpha_init") == ("uniform", "normal")
    assert {name: set(values) for name, values in listed.items()} == {
        name: set(CHOICES[name]) for name in listed
    }


def test_exactly_the_combinations_without_a_meaning_are_refused() -> None:
    """Otherwise an option is silently ignored, or a net of the papers cannot be built."""
    for options in combinations():
        assert (refusal(options) is not None) == bool(without_meaning(options)), options


def test_a_refusal_names_the_option_at_fault() -> None:
    """Otherwise the user has to guess which option is wrong."""
    for options in combinations():
        message = refusal(options)
        if message is not None:
            named = {name for name in CHOICES if message.startswith(f"{name}=")}
            assert named
            assert named <= without_meaning(options), (options, message)


def test_every_plastic_cell_refuses_the_same_combinations() -> None:
    """Otherwise a cell's config does not call the checks of its base class."""
    for name in PLASTIC_CELLS:
        with pytest.raises(ValueError, match="clip=2"):
            build_cell(name, 12, clip=2.0, bound="soft")


@pytest.mark.parametrize("modulation", ["simple", "retroactive"])
def test_the_readout_refuses_a_modulator(modulation: str) -> None:
    """The readout has no activity that a neuromodulator could read."""
    with pytest.raises(ValueError, match=r"modulation=.*plastic_readout"):
        build_cell("plastic_readout", 12, modulation=modulation)


def test_the_lstm_refuses_a_modulators_input_without_modulator() -> None:
    """Without a neuromodulator the option has no effect."""
    with pytest.raises(ValueError, match=r"modulator_input='cell' has no meaning .* needs a neuro"):
        build_cell("plastic_lstm", 12, modulator_input="cell")


# Settings that an option needs to have a meaning, and values of options without literals.
NEEDS: dict[str, dict[str, Any]] = {
    "fan_out": {"modulation": "simple"},
    "modulator": {"modulation": "simple"},
    "eligibility_squash": {"modulation": "retroactive"},
    "modulator_activation": {"modulation": "simple"},
    "modulator_input": {"modulation": "simple"},
}
OTHER: dict[str, tuple[Any, ...]] = {
    "clip": (0.1,),
    "fan_out": (True,),
    "eta_init": (0.7,),
    "alpha_scale": (0.5,),
    "weight_scale": (0.5,),
    "label_gain": (1.0,),
    "retention": (0.5,),
    "rate": (0.1,),
    "inner_steps": (2,),
    "inner_size": (9,),
    "normalize_first": (False,),
    "num_layers": (2,),
    "train_weights": (False,),
    "trial_input": (2,),
    "hidden_size": (),  # another test checks the output's width
}
INITIAL = ("eta_init", "alpha_init", "alpha_scale", "weight_init", "weight_scale")
HIDDEN_SIZE = {"additive": 6, "clamped": 3}


def option_values() -> Iterator[tuple[str, str, Any]]:
    """(cell, option, value) for every value except the default."""
    for name, (config, *_) in CELLS.items():
        hints = get_type_hints(config)
        for field in dataclasses.fields(config):
            unmodulated = name == "plastic_readout"
            if unmodulated and (field.name == "modulation" or field.name in NEEDS):
                continue
            for value in literals_of(hints[field.name]) or OTHER[field.name]:
                if value != field.default:
                    yield name, field.name, value


def build(name: str, value: Any, **options: Any) -> Cell[Any]:
    size = {"hidden_size": HIDDEN_SIZE.get(value, 3)}
    return build_cell(name, 6, **{**(size if name in PLASTIC_CELLS else {}), **options}).double()


def initial(cell: Cell[Any]) -> list[Tensor]:
    return [parameter.detach() for parameter in cell.parameters()]


def trained(cell: Cell[Any]) -> list[Tensor]:
    """The parameters after a step along the gradient of an arbitrary loss."""
    inputs = torch.randn(5, 2, 6, generator=torch.Generator().manual_seed(3)).double()
    sequence(cell, inputs / 1000)[0].square().sum().backward()  # small: labels are multiplied
    return [p.detach() - (0 if p.grad is None else p.grad) for p in cell.parameters()]


def outputs(cell: Cell[Any]) -> list[Tensor]:
    """The outputs of a cell whose parameters depend only on their shapes."""
    for name, parameter in cell.named_parameters():
        generator = torch.Generator().manual_seed(2)
        torch.nn.init.normal_(parameter, mean=0.5 if "eta" in name else 0.0, generator=generator)
    inputs = torch.randn(12, 2, 6, generator=torch.Generator().manual_seed(3)).double()
    return [sequence(cell, inputs * (inputs > -0.5), backend="eager")[0].detach()]


@pytest.mark.parametrize(("name", "option", "value"), list(option_values()))
def test_every_value_of_every_option_changes_something(name: str, option: str, value: Any) -> None:
    """Otherwise an option has no effect."""
    see = {"train_weights": trained}.get(option, initial if option in INITIAL else outputs)
    needed = NEEDS.get(option, {})
    torch.manual_seed(0)
    usual = see(build(name, value, **needed))
    torch.manual_seed(0)
    chosen = see(build(name, value, **needed, **{option: value}))
    assert any(not torch.equal(left, right) for left, right in zip(usual, chosen, strict=True))


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_initial_weights_and_alpha_are_drawn_as_asked(distribution: str) -> None:
    """U(0, s) lies in [0, s] with mean s / 2; N(0, s^2) has standard deviation s."""
    torch.manual_seed(0)
    cell = build_cell(
        "plastic_rnn",
        3,
        hidden_size=100,
        weight_init=distribution,
        alpha_init=distribution,
        weight_scale=0.3,
        alpha_scale=0.6,
    )
    assert cell.connection is not None
    for drawn, scale in ((cell.connection.weight, 0.3), (cell.connection.alpha, 0.6)):
        if distribution == "uniform":
            assert 0 <= drawn.min() < 0.01 * scale
            assert 0.99 * scale < drawn.max() <= scale
            assert abs(drawn.mean() - scale / 2) < 0.02 * scale
        else:
            assert abs(drawn.mean()) < 0.05 * scale
            assert abs(drawn.std() - scale) < 0.05 * scale


def test_eta_begins_where_asked_and_is_trained() -> None:
    """Otherwise the plasticity rate starts at another value, or is not trained."""
    cell = build_cell("plastic_rnn", 3, eta_init=0.25)
    assert cell.connection is not None
    assert cell.connection.eta is not None
    assert cell.connection.eta.requires_grad
    assert cell.connection.eta.tolist() == [0.25]


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "1", None, True])
@pytest.mark.parametrize(
    ("name", "option"),
    [
        *((name, option) for name in PLASTIC_CELLS for option in ("clip", "alpha_scale")),
        ("plastic_rnn", "weight_scale"),
        ("plastic_readout", "weight_scale"),
        ("plastic_readout", "label_gain"),
    ],
)
def test_a_scale_is_a_finite_number_above_zero(name: str, option: str, value: Any) -> None:
    """Otherwise the traces or weights of a net are all NaN or zero."""
    with pytest.raises(ValueError, match=f"^{option} must be a finite number above 0, not "):
        build_cell(name, 12, **{option: value})


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), "0.1", None, True])
def test_eta_is_a_finite_number(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^eta_init must be a finite number, not "):
        Plasticity(eta_init=value)


@pytest.mark.parametrize("modulation", ["none", "simple", "retroactive"])
@pytest.mark.parametrize("name", ["plastic_rnn", "plastic_lstm"])
def test_frozen_weights_get_no_gradient_and_all_others_keep_theirs(
    name: str, modulation: str, backend: str
) -> None:
    """Otherwise the weights are trained, or the others are trained differently."""
    gradients = []
    for train_weights in (True, False):
        torch.manual_seed(0)
        options = {"modulation": modulation, "train_weights": train_weights}
        cell = build_cell(name, 6, hidden_size=3, **options)
        inputs = torch.randn(5, 2, 6, generator=torch.Generator().manual_seed(3))
        sequence(cell, inputs, backend=backend)[0].square().sum().backward()
        gradients.append({name: weight.grad for name, weight in cell.named_parameters()})
    usual, frozen = gradients
    assert usual.pop("connection.weight") is not None
    assert frozen.pop("connection.weight") is None
    assert all(torch.equal(usual[name], frozen[name]) for name in usual)


@pytest.mark.parametrize("value", [1, 0, "yes", None])
@pytest.mark.parametrize("name", ["fan_out", "train_weights"])
def test_a_truth_value_is_true_or_false(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be true or false, not "):
        Plasticity(modulation="simple", **{name: value})


def literals() -> Iterator[tuple[str, str]]:
    for name, (config, *_) in CELLS.items():
        for option in choices_of(config):
            yield name, option


@pytest.mark.parametrize("value", ["Hebb", "", 1, None, ["hebb"]])
@pytest.mark.parametrize(("name", "option"), list(literals()))
def test_a_wrong_literal_is_refused_with_the_right_ones(name: str, option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{option} must be one of \w+, .*not "):
        build_cell(name, 12, **{option: value})


@pytest.mark.parametrize("value", [0, -3, 2.0, "3", None, True])
@pytest.mark.parametrize("name", [name for name in CELLS if name != "identity"])
def test_a_size_is_an_integer_of_at_least_one(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^hidden_size must be an integer of at least 1, not "):
        build_cell(name, 12, hidden_size=value)


@pytest.mark.parametrize("value", [0, -3, 2.0, "3", None, True])
@pytest.mark.parametrize("name", CELLS)
def test_an_input_size_is_an_integer_of_at_least_one(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^input_size must be an integer of at least 1, not "):
        build_cell(name, value)


def test_every_rule_and_bound_can_be_chosen() -> None:
    """Otherwise a rule or bound is not an option of ``Plasticity``, and no test covers it."""
    for name, registry in (("rule", RULES), ("bound", BOUNDS)):
        assert set(get_args(get_type_hints(Plasticity)[name])) == set(registry)
        assert set(CHOICES[name]) == set(registry)
