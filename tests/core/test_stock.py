"""Fast backends run only unchanged cells; for others, ``auto`` equals ``eager``."""

import itertools
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrizations, prune

from plasticrl.core import CELLS, Neuromodulator, build_cell, sequence, stepper
from plasticrl.core.backends import choose
from plasticrl.core.backends.eager import EAGER
from plasticrl.core.stock import is_stock_cell

SPECIALIZED = {
    "plastic_rnn": {"modulation": "simple", "fan_out": True, "weight_scale": 0.5},
    "plastic_lstm": {"alpha": "neuron", "modulation": "simple"},
    "lstm": {},
    "gru": {},
    "rnn": {},
}
"""Cells that a specialized backend runs, with their options."""


def double(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    return tuple(2 * part for part in output) if isinstance(output, tuple) else 2 * output


def linear_of(cell: Any) -> tuple[nn.Module, str]:
    """A part of the cell with a weight, and the weight's name."""
    for part in cell.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if parameter.dim() == 2:
                return part, name
    raise AssertionError


def hook_on_the_cell(cell: Any) -> None:
    cell.register_forward_hook(lambda _module, _inputs, output: (2 * output[0], output[1]))


def hook_on_a_part(cell: Any) -> None:
    next(part for part in cell.modules() if part is not cell).register_forward_hook(double)


def hook_before(cell: Any) -> None:
    cell.register_forward_pre_hook(lambda _module, inputs: (inputs[0] + 1, *inputs[1:]))


def method_of_the_instance(cell: Any) -> None:
    original = cell.step
    cell.step = types.MethodType(lambda self, drive, state: original(drive + 1, state), cell)


def pruned(cell: Any) -> None:
    part, name = linear_of(cell)
    prune.l1_unstructured(part, name, amount=0.5)  # type: ignore[no-untyped-call]


def parametrized(cell: Any) -> None:
    part, name = linear_of(cell)
    parametrizations.spectral_norm(part, name)


def another_layer(cell: Any) -> None:
    for name, part in cell.named_children():
        if type(part) is nn.Linear and part.in_features == 4:
            stretched = nn.Sequential(
                nn.Linear(4, part.out_features), nn.LayerNorm(part.out_features)
            )
            setattr(cell, name, stretched)


def without_bias(cell: Any) -> None:
    for name, part in cell.named_children():
        if type(part) is nn.Linear and part.in_features == 4:
            setattr(cell, name, nn.Linear(4, part.out_features, bias=False))


class Inverted(Neuromodulator):
    def forward(self, activity: Tensor) -> Tensor:
        return -super().forward(activity)


def own_modulator(cell: Any) -> None:
    cell.connection.modulator = Inverted(8, 8, fan_out=cell.connection.plasticity.fan_out)


def tied(cell: Any) -> None:
    """Two parameters of the same shape become one."""
    for part in cell.modules():
        for name, other in itertools.combinations(dict(part.named_parameters(recurse=False)), 2):
            if getattr(part, name).shape == getattr(part, other).shape:
                setattr(part, name, getattr(part, other))
                return
    raise AssertionError


def another_activation(cell: Any) -> None:
    cell.connection.modulator.activation = "sigmoid"


FOR_ALL = [
    hook_on_the_cell,
    hook_on_a_part,
    hook_before,
    method_of_the_instance,
    pruned,
    parametrized,
]
PLASTIC = ("plastic_rnn", "plastic_lstm")
CHANGES: list[tuple[str, Callable[[Any], None]]] = [
    *((name, change) for change in FOR_ALL for name in SPECIALIZED),
    # Those that have a layer of torch's for their input, and those that have a modulator.
    *(
        (name, change)
        for change in (another_layer, without_bias)
        for name in ("plastic_rnn", "rnn")
    ),
    *((name, change) for change in (own_modulator, another_activation) for name in PLASTIC),
]


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_as_it_is_made_is_stock(name: str) -> None:
    """Otherwise every net would be slow."""
    cell = build_cell(name, 14)
    assert is_stock_cell(cell)
    assert is_stock_cell(cell.double())
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(1)
    assert is_stock_cell(cell)


@pytest.mark.parametrize("name", SPECIALIZED)
def test_making_the_comparison_draws_no_random_numbers(name: str) -> None:
    """Otherwise the first sequence would change what a seed gives."""
    cell = build_cell(name, 4, hidden_size=17, **SPECIALIZED[name])
    before = torch.get_rng_state()
    assert is_stock_cell(cell)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "change"), CHANGES, ids=[f"{name}-{change.__name__}" for name, change in CHANGES]
)
def test_a_changed_cell_is_called_as_a_module(name: str, change: Callable[[Any], None]) -> None:
    """Otherwise the fast path skips a user's hook, mask or module, which the loss uses."""
    torch.manual_seed(0)
    cell = build_cell(name, 4, hidden_size=8, **SPECIALIZED[name])
    inputs = torch.randn(6, 2, 4)
    stock, _ = sequence(cell, inputs)
    assert choose("auto", cell, inputs) is not EAGER
    change(cell)
    cell.eval()  # in training mode, spectral norm continues its iteration
    eager, eager_state = sequence(cell, inputs, backend="eager")
    auto, auto_state = sequence(cell, inputs)
    assert not torch.allclose(eager, stock)
    torch.testing.assert_close((auto, auto_state), (eager, eager_state))
    state = cell.initial_state(2)
    act = stepper(cell, state)
    torch.testing.assert_close(torch.stack([act(step) for step in inputs]), eager.detach())
    with pytest.raises(ValueError, match="backend 'fused' cannot run"):
        sequence(cell, inputs, backend="fused")


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_shared_weights(name: str) -> None:
    """A list of all parameters has a shared one only once."""
    cell = build_cell(name, 8, hidden_size=8)
    tied(cell)
    inputs = torch.randn(6, 2, 8)
    eager = sequence(cell, inputs, backend="eager")
    torch.testing.assert_close(sequence(cell, inputs), eager)


def test_a_hook_on_all_modules_fires() -> None:
    """Otherwise a profiler or a debugger would see nothing of the core."""
    cell, seen = build_cell("plastic_rnn", 4, hidden_size=8), []
    handle = register_module_forward_hook(lambda module, *_: seen.append(module))
    try:
        sequence(cell, torch.zeros(3, 2, 4))
    finally:
        handle.remove()
    assert cell.connection in seen


@pytest.mark.parametrize("part", ["input", "connection"])
def test_a_part_of_another_number_type(part: str) -> None:
    """Otherwise loops for one dtype read numbers of another."""
    cell = build_cell("plastic_rnn", 4, hidden_size=8)
    getattr(cell, part).double()
    assert choose("auto", cell, torch.zeros(3, 2, 4)) is EAGER
