"""A population gives the results of its nets, each of which is run by itself."""

from typing import Any

import pytest
import torch
from tests.core.cases import Case

from plasticrl.core import build_cell, sequence, stepper
from plasticrl.core.backends.fused import FUSED
from plasticrl.core.population import Population
from plasticrl.core.state import leaves, map_leaves

S, B, T = 3, 4, 7
KINDS: list[dict[str, Any]] = [
    {},
    {"modulation": "simple", "fan_out": True, "alpha": "neuron", "bound": "decay"},
    {"modulation": "retroactive", "rule": "oja", "bound": "soft", "alpha": "scalar"},
    {"input_mode": "additive", "modulation": "simple"},
    {"input_mode": "clamped", "modulation": "retroactive", "fan_out": True},
]


def nets_of(options: dict[str, Any]) -> list[Any]:
    torch.manual_seed(1)
    width = {"additive": 5, "clamped": 10}.get(options.get("input_mode", ""), 3)
    options = {"hidden_size": 5, "weight_scale": 0.5, "alpha_scale": 0.5, **options}
    return [build_cell("plastic_rnn", width, **options).double() for _ in range(S)]


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("options", KINDS)
def test_values_and_gradients_are_those_of_each_net(options: dict[str, Any], backend: str) -> None:
    """Otherwise the agent of a seed depends on the seeds with which it is trained."""
    nets = nets_of(options)
    cell = Population(nets)
    case = Case(cell, T, S * B, 0.2)
    found = case.results(lambda *given: sequence(*given, backend))
    for number, net in enumerate(nets):
        rows = slice(number * B, (number + 1) * B)
        own = Case(net, T, B, 0.2)
        own.inputs = case.inputs[:, rows].detach().requires_grad_()
        own.state = map_leaves(lambda x: x[rows].detach().requires_grad_(), case.state)  # noqa: B023
        own.starts = case.starts[:, rows]
        own.upstream = [case.upstream[0][:, rows], *(one[rows] for one in case.upstream[1:])]
        for name, expected in own.results(lambda *given: sequence(*given, "eager")).items():
            theirs = found.get(name)
            if theirs is None:  # the gradient of a parameter
                theirs = found[name.replace("d ", "d stacked.")][number]
            else:
                theirs = theirs[:, rows] if len(theirs) == T else theirs[rows]
            torch.testing.assert_close(theirs, expected, rtol=1e-9, atol=1e-9, msg=name)


def test_steps_and_their_replay_equal_the_sequence(backend: str) -> None:
    """Otherwise a population acts with another net than it learns with."""
    cell = Population(nets_of({"modulation": "retroactive"}))
    inputs, starts = torch.randn(T, S * B, 3).double(), torch.rand(T, S * B) < 0.2
    expected, final = sequence(cell, inputs, None, starts, "eager")
    state = cell.initial_state(S * B)
    step = stepper(cell, state, backend, T)
    outputs = torch.stack([step(*given) for given in zip(inputs, starts, strict=True)])
    torch.testing.assert_close(outputs, expected.detach())
    torch.testing.assert_close(step.replay()[0], expected)
    for ours, theirs in zip(leaves(state), leaves(final), strict=True):
        torch.testing.assert_close(ours, theirs.detach())


def test_it_runs_in_the_kernels() -> None:
    """Otherwise the nets of several seeds are trained step by step."""
    cell = Population(nets_of({}))
    assert FUSED.supports(cell, torch.zeros(1).double())
    cell.register_forward_hook(lambda *_: None)
    assert not FUSED.supports(cell, torch.zeros(1).double())


def test_nets_that_differ_are_refused() -> None:
    """Otherwise all nets have the options of the first."""
    net = build_cell("plastic_rnn", 3, hidden_size=5)
    others = [
        build_cell("plastic_rnn", 3, hidden_size=5, rule="oja"),
        build_cell("plastic_rnn", 4, hidden_size=5),
        build_cell("rnn", 3, hidden_size=5),
    ]
    hooked = build_cell("plastic_rnn", 3, hidden_size=5)
    hooked.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="modified"):
        Population([net, hooked])  # type: ignore[list-item]
    for other in others:
        with pytest.raises(ValueError, match="one size and config"):
            Population([net, other])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="at least one net"):
        Population([])


def test_rows_that_cannot_be_divided_are_refused(backend: str) -> None:
    """Otherwise a row is run by the wrong net, or by none."""
    cell = Population(nets_of({}))
    with pytest.raises(ValueError, match="multiple of 3 rows, not 4"):
        sequence(cell, torch.zeros(2, 4, 3).double(), backend=backend)
    state = map_leaves(lambda leaf: leaf[:4].clone(), cell.initial_state(6))
    with pytest.raises(ValueError, match="multiple of 3 rows, not 4"):
        stepper(cell, state, backend)(torch.zeros(4, 3).double())
