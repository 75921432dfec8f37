"""Stacked and parallel cells equal torch's own layers, and their parts run separately."""

import copy
import pickle
from typing import Any

import pytest
import torch
from tests.core.cases import TOLERANCE, Case
from torch import Tensor, nn

from plasticrl.core import Cell, OptionError, build_cell, sequence, stepper
from plasticrl.core.cells.composed import Parallel, Stack
from plasticrl.core.cells.configs import PlasticRNNConfig
from plasticrl.core.cells.plastic_rnn import PlasticRNN
from plasticrl.core.state import map_leaves

STEPS, ROWS, WIDTH, SIZE = 7, 4, 3, 5
PLASTIC: dict[str, Any] = {
    "hidden_size": SIZE,
    "modulation": "retroactive",
    "fan_out": True,
    "clip": 0.3,
    "weight_scale": 0.5,
    "alpha_scale": 1.0,
}


def random_starts() -> Tensor:
    return torch.rand(STEPS, ROWS) < 0.3


def as_torch(name: str, cell: Any) -> nn.RNNBase:
    """torch's own module with the weights of a stack of ``rnn``, ``gru`` or ``lstm``."""
    form = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[name]
    module = form(WIDTH, SIZE, num_layers=2).double()
    for number, layer in enumerate(cell.parts.values()):
        if name == "rnn":
            bias = layer.input.bias
            weights = [layer.input.weight, layer.recurrent.weight, bias, torch.zeros_like(bias)]
        else:
            own = layer.cell
            weights = [own.weight_ih, own.weight_hh, own.bias_ih, own.bias_hh]
        with torch.no_grad():
            for kind, weight in zip(
                ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), weights, strict=True
            ):
                getattr(module, f"{kind}_l{number}").copy_(weight)
    return module


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_two_layers_are_torchs_two_layers(name: str, backend: str) -> None:
    """Otherwise ``num_layers`` means something else than in torch."""
    torch.manual_seed(0)
    cell: Any = build_cell(name, WIDTH, hidden_size=SIZE, num_layers=2).double()
    module = as_torch(name, cell)
    inputs = torch.randn(STEPS, ROWS, WIDTH, dtype=torch.float64, requires_grad=True)
    before = [torch.randn(2, ROWS, SIZE, dtype=torch.float64, requires_grad=True)]
    before += [torch.randn_like(before[0]).requires_grad_()] if name == "lstm" else []
    # Ours has all tensors of layer 1, then those of layer 2.
    state = type(cell.initial_state(0))(*(part[layer] for layer in (0, 1) for part in before))

    given: Any = tuple(before) if name == "lstm" else before[0]
    expected, after = module(inputs, given)
    after = after if isinstance(after, tuple) else (after,)
    outputs, final = sequence(cell, inputs, state, backend=backend)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(list(final), [part[layer] for layer in (0, 1) for part in after])

    upstream = torch.randn_like(outputs)
    sources = [inputs, *before]
    kinds = ["weight_ih", "weight_hh", "bias_ih"] + ([] if name == "rnn" else ["bias_hh"])
    theirs = [getattr(module, f"{kind}_l{layer}") for layer in (0, 1) for kind in kinds]
    ours = list(cell.parameters())
    if name == "rnn":  # whose order is weight_ih, bias, weight_hh
        ours = [ours[index] for index in (0, 2, 1, 3, 5, 4)]
    wanted = torch.autograd.grad(expected, [*sources, *theirs], upstream)
    found = torch.autograd.grad(outputs, [*sources, *ours], upstream)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stacks_side_by_side_equal_eager(dtype: torch.dtype) -> None:
    """Otherwise a part gets the inputs, the state or the gradient of another."""
    torch.manual_seed(0)
    stack = build_cell("plastic_rnn", WIDTH, num_layers=3, **PLASTIC)
    cell = Parallel(one=stack, other=build_cell("lstm", 2, hidden_size=4, num_layers=2)).to(dtype)
    case = Case(cell, STEPS, ROWS, 0.3)
    fused, eager = (
        case.results(lambda *given, name=name: sequence(*given, name))
        for name in ("fused", "eager")
    )
    assert fused.keys() == eager.keys()
    for name, expected in eager.items():
        difference = (fused[name] - expected).abs().max().item()
        assert difference <= TOLERANCE[dtype] * max(1.0, expected.abs().max().item()), name


def test_parallel_cells_are_two_cells_run_separately(backend: str) -> None:
    """Otherwise one cell has an effect on the other."""
    torch.manual_seed(0)
    cells = {"one": build_cell("plastic_rnn", WIDTH, **PLASTIC), "other": build_cell("gru", 2)}
    both = Parallel(**cells)
    assert (both.input_size, both.hidden_size) == (WIDTH + 2, SIZE + 100)
    inputs, starts = torch.randn(STEPS, ROWS, WIDTH + 2), random_starts()
    state = map_leaves(torch.randn_like, both.initial_state(ROWS))
    outputs, final = sequence(both, inputs, state, starts, backend)
    pieces, states = (
        dict(zip(cells, inputs.split([WIDTH, 2], dim=2), strict=True)),
        both.split(state),
    )
    separate = {
        name: sequence(cell, pieces[name], states[name], starts, backend)
        for name, cell in cells.items()
    }
    torch.testing.assert_close(outputs, torch.cat([out for out, _ in separate.values()], dim=2))
    for name, part in both.split(final).items():
        assert type(part) is type(cells[name].initial_state(0))
        torch.testing.assert_close(list(part), list(separate[name][1]))
    for name, cell in cells.items():
        parameters = list(cell.parameters())
        found = torch.autograd.grad(outputs.sum(), parameters, retain_graph=True)
        expected = torch.autograd.grad(separate[name][0].sum(), parameters)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["plastic_rnn", "plastic_lstm", "gru"])
def test_recorded_steps_are_replayed(name: str) -> None:
    """Otherwise RecurrentA2C learns from other steps than it took."""
    torch.manual_seed(0)
    cell = build_cell(name, WIDTH, hidden_size=SIZE, num_layers=2)
    inputs, starts = torch.randn(STEPS, ROWS, WIDTH), random_starts()
    step = stepper(cell, cell.initial_state(ROWS), n_steps=STEPS)
    acted = torch.stack([step(*given) for given in zip(inputs, starts, strict=True)])
    expected, after = sequence(cell, inputs, None, starts, "eager")
    outputs, final = step.replay()
    torch.testing.assert_close(acted, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-6)
    assert type(final) is type(after)
    wanted = torch.autograd.grad(expected.square().sum(), list(cell.parameters()))
    found = torch.autograd.grad(outputs.square().sum(), list(cell.parameters()))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_hook_on_any_part_is_called() -> None:
    """Otherwise the fast way ignores it."""
    cell: Any = build_cell("plastic_rnn", WIDTH, num_layers=2, **PLASTIC)
    inputs, called = torch.randn(STEPS, ROWS, WIDTH), list[str]()
    for name, part in {"cell": cell, "layer": cell.parts["layer_2"]}.items():
        hook = part.register_forward_hook(lambda *_, name=name: called.append(name))
        sequence(cell, inputs)
        hook.remove()
    assert called == ["cell"] * STEPS + ["layer"] * STEPS


def test_one_layer_is_the_cell_itself() -> None:
    """Otherwise weights and names of runs with one layer change."""
    torch.manual_seed(0)
    plain = PlasticRNN(WIDTH, PlasticRNNConfig(**PLASTIC))
    torch.manual_seed(0)
    single = build_cell("plastic_rnn", WIDTH, **PLASTIC, num_layers=1)
    assert type(single) is type(plain)
    assert single.config == plain.config
    for (name, ours), (other, theirs) in zip(
        single.named_parameters(), plain.named_parameters(), strict=True
    ):
        assert name == other
        assert torch.equal(ours, theirs)


def test_states_of_equal_cells_have_one_type() -> None:
    """Otherwise a state that was copied, saved or made by another cell would be refused."""

    def made(layers: int = 2) -> Cell[Any]:
        return build_cell("gru", WIDTH, hidden_size=SIZE, num_layers=layers)

    state = made().initial_state(2)
    assert state._fields == ("layer_1_hidden", "layer_2_hidden")
    for other in (
        made().initial_state(3),
        copy.deepcopy(state),
        pickle.loads(pickle.dumps(state)),
        sequence(made(), torch.zeros(1, 2, WIDTH))[1],
    ):
        assert type(other) is type(state)
    with pytest.raises(ValueError, match="must be a GRUStateAndGRUState, not a GRUStateAndGRUS"):
        sequence(made(), torch.zeros(1, 2, WIDTH), made(3).initial_state(2))


@pytest.mark.parametrize("number", [0, -1, 1.5, True, 101, "2"])
def test_a_number_of_layers_that_cannot_be(number: Any) -> None:
    with pytest.raises(OptionError, match="num_layers must be"):
        build_cell("gru", WIDTH, num_layers=number)


def test_clamped_layers_are_refused() -> None:
    """The second layer would need a mask for every unit."""
    with pytest.raises(OptionError, match="num_layers=2 has no meaning with input_mode='clamped'"):
        build_cell("plastic_rnn", 2 * SIZE, hidden_size=SIZE, num_layers=2, input_mode="clamped")


def test_a_part_without_a_fast_backend_is_named() -> None:
    """Otherwise ``backend="fused"`` silently runs slow code."""
    cell = Stack([build_cell("gru", WIDTH, hidden_size=SIZE), build_cell("identity", SIZE)])
    with pytest.raises(ValueError, match="'fused' cannot run this Identity"):
        sequence(cell, torch.zeros(STEPS, ROWS, WIDTH), backend="fused")
