"""Gradients of every cell against finite differences: parameters, inputs and initial state.

The upstream gradient comes from the outputs and from the final state; an episode starts inside.
"""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.func import functional_call

from plasticrl.core import CELLS, Cell, Plasticity, build_cell, sequence
from plasticrl.core.modulation import ACTIVATIONS
from plasticrl.core.rules import BOUNDS, RULES
from plasticrl.core.state import leaves, unflatten

STEPS, BATCH, SIZE = 3, 2, 3
CLIP = 0.4


def valid(options: dict[str, Any]) -> bool:
    """Whether the options can be combined; ``test_options`` checks that this is right."""
    try:
        Plasticity(**options)
    except ValueError:
        return False
    return True


def is_needed(options: dict[str, Any]) -> bool:
    """Whether to check a combination: a further rule cannot spoil alpha or the activation."""
    is_usual = options["alpha"] == "connection" and options["modulator_activation"] == "tanh"
    return is_usual or options["rule"] in ("hebb", "oja")


def with_clip(options: dict[str, Any]) -> dict[str, Any]:
    if options["bound"] != "hard":
        return options
    is_gated = options["modulation"] == "gated"  # then the trace has decayed before it is clipped
    return options | {"clip": CLIP / 2 if is_gated else CLIP}


def plasticities(**choices: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Every valid combination of options; ``choices`` restricts some of them."""
    every: dict[str, tuple[Any, ...]] = {
        "rule": tuple(RULES),
        "bound": tuple(BOUNDS),
        "modulation": ("none", "simple", "retroactive", "gated"),
        "alpha": ("connection", "neuron", "scalar"),
        "fan_out": (False, True),
        "modulator_activation": tuple(ACTIVATIONS),
        **choices,
    }
    combined = (
        dict(zip(every, values, strict=True)) for values in itertools.product(*every.values())
    )
    return [with_clip(options) for options in combined if valid(options) and is_needed(options)]


def retroactive(options: dict[str, Any]) -> bool:
    return bool(options["modulation"] == "retroactive")


class Through(nn.Module):
    """A cell run over time as a module of tensors, for ``functional_call``."""

    def __init__(self, cell: Cell[Any]) -> None:
        super().__init__()
        self.cell = cell
        self.clamped = getattr(cell, "input_mode", None) == "clamped"
        self.input_size = cell.hidden_size if self.clamped else cell.input_size
        self.template = cell.initial_state(BATCH)

    def forward(self, inputs: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        starts = torch.zeros(len(inputs), BATCH, dtype=torch.bool)
        starts[1:2, 0] = True
        before = unflatten(self.template, list(state))
        if self.clamped:
            mask = (torch.arange(inputs.numel()).view(inputs.shape) % 3 == 0).to(inputs)
            inputs = torch.cat([inputs, mask], dim=2)
        outputs, after = sequence(self.cell, inputs, before, starts, backend="eager")
        return outputs, *leaves(after)


def arguments(through: Through) -> tuple[Tensor, ...]:
    """Inputs, state and parameters; the traces start on both sides of the clip and near one."""
    generator = torch.Generator().manual_seed(4)

    def normal(like: Tensor) -> Tensor:
        drawn = torch.randn(like.shape, generator=generator, dtype=torch.float64)
        return (0.6 * drawn).requires_grad_()

    inputs = normal(torch.empty(STEPS, BATCH, through.input_size))
    state = [normal(leaf) for leaf in leaves(through.template)]
    return inputs, *state, *(normal(parameter) for parameter in through.parameters())


def check(name: str, input_size: int, options: dict[str, Any], fast: bool = True) -> None:
    through = Through(build_cell(name, input_size, hidden_size=SIZE, **options).double())
    names = [name for name, _ in through.named_parameters()]

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        given, parameters = tensors[: -len(names)], tensors[-len(names) :]
        found: tuple[Tensor, ...] = functional_call(
            through, dict(zip(names, parameters, strict=True)), given
        )
        return found

    tensors = arguments(through)
    if options.get("bound") == "hard":
        trace = function(tensors[0][:1], *tensors[1:])[-2 if retroactive(options) else -1]
        clipped = trace[1].abs() == options["clip"]  # the row that goes on
        assert clipped.any(), "the bound is to be active somewhere"
        assert not clipped.all(), "and not everywhere"
    assert gradcheck(function, tensors, fast_mode=fast, check_undefined_grad=False)


def described(options: dict[str, Any]) -> str:
    return "-".join(str(value) for value in options.values())


@pytest.mark.parametrize("options", plasticities(), ids=described)
def test_plastic_rnn(options: dict[str, Any]) -> None:
    """Otherwise this combination of options has a wrong gradient."""
    check("plastic_rnn", 2, options)


@pytest.mark.parametrize("fan_out", [False, True])
@pytest.mark.parametrize("eligibility_squash", ["none", "tanh"])
@pytest.mark.parametrize("modulator", ["single", "pair"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["plastic_rnn", "plastic_lstm"])
def test_retroactive_modulation_of_2025(
    name: str, rule: str, modulator: str, eligibility_squash: str, fan_out: bool
) -> None:
    """Otherwise the gradient lacks the path through the gain, or the squashed eligibility."""
    options = {
        "rule": rule,
        "bound": "hard",
        "modulation": "retroactive",
        "modulator": modulator,
        "eligibility_squash": eligibility_squash,
        "fan_out": fan_out,
    }
    check(name, 2, with_clip(options))


@pytest.mark.parametrize("modulation", ["none", "simple", "retroactive"])
def test_two_layers(modulation: str) -> None:
    """Otherwise the gradient to the first layer is wrong."""
    check("plastic_rnn", 2, with_clip({"bound": "hard", "modulation": modulation, "num_layers": 2}))


# Entry by entry, where the test above takes random directions.
@pytest.mark.parametrize(
    "options",
    [
        options
        for options in plasticities(alpha=("connection",), modulator_activation=("tanh",))
        if options["fan_out"] or options["modulation"] == "none"
    ],
    ids=described,
)
def test_plastic_rnn_entry_by_entry(options: dict[str, Any]) -> None:
    check("plastic_rnn", 2, options, fast=False)


@pytest.mark.parametrize(("input_mode", "width"), [("additive", SIZE), ("clamped", 2 * SIZE)])
@pytest.mark.parametrize(
    "options",
    plasticities(alpha=("connection",), fan_out=(False,), modulator_activation=("tanh",)),
    ids=described,
)
def test_plastic_rnn_with_inputs_to_its_units(
    options: dict[str, Any], input_mode: str, width: int
) -> None:
    """Otherwise the gradient is wrong for inputs that are given to the units."""
    check("plastic_rnn", width, {**options, "input_mode": input_mode})


LSTM_PLASTICITIES = plasticities(alpha=("connection", "neuron"), modulator_activation=("tanh",))


@pytest.mark.parametrize("options", LSTM_PLASTICITIES, ids=described)
def test_plastic_lstm(options: dict[str, Any]) -> None:
    """Otherwise the gradient lacks the path through a gate or the neuromodulator."""
    check("plastic_lstm", 2, options)


@pytest.mark.parametrize(
    "options",
    [
        options
        for options in LSTM_PLASTICITIES
        if options["modulation"] != "none" and options["alpha"] == "connection"
    ],
    ids=described,
)
def test_plastic_lstm_whose_modulator_reads_the_cell(options: dict[str, Any]) -> None:
    check("plastic_lstm", 2, {**options, "modulator_input": "cell"})


@pytest.mark.parametrize(
    "options",
    plasticities(modulation=("none",), fan_out=(False,), modulator_activation=("tanh",)),
    ids=described,
)
def test_plastic_readout(options: dict[str, Any]) -> None:
    """Otherwise the gradient lacks the path through the softmax or the label."""
    check("plastic_readout", 2 + SIZE, {**options, "label_gain": 0.5})


# Every cell with a plastic connection has tests of its own above; the identity has no parameter.
PLASTIC = ("plastic_rnn", "plastic_lstm", "plastic_readout")
PLAIN = [name for name in CELLS if name not in (*PLASTIC, "identity")]


@pytest.mark.parametrize("registry", ["rule", "bound"])
def test_no_entry_of_a_registry_is_left_out(registry: str) -> None:
    """Otherwise a new rule or bound is in no combination that is checked."""
    for combined in (plasticities(), LSTM_PLASTICITIES):
        assert {options[registry] for options in combined} == set(
            {"rule": RULES, "bound": BOUNDS}[registry]
        )


@pytest.mark.parametrize("name", PLAIN)
def test_plain_cells(name: str) -> None:
    """Otherwise the time loop or the reset spoils the gradient of torch's cells."""
    small = {"inner_size": SIZE} if name == "inner_gradient" else {}
    check(name, 2, small, fast=False)
