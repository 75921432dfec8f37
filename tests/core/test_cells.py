"""The cells agree with torch's own cells, and every cell keeps its interface."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plasticrl.core import CELLS, Cell, Plasticity, build_cell, cell_fields, sequence
from plasticrl.core.state import leaves

STEPS, BATCH, INPUTS, UNITS = 6, 3, 4, 5


def inputs() -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randn(STEPS, BATCH, INPUTS, generator=generator, dtype=torch.float64)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def build(name: str, **options: Any) -> Cell[Any]:
    torch.manual_seed(10)
    return build_cell(name, INPUTS, hidden_size=UNITS, **options).double()


def without_plasticity(cell: Cell[Any]) -> Cell[Any]:
    """Set alpha to zero, so that the trace has no effect."""
    assert cell.connection is not None
    nn.init.zeros_(cell.connection.alpha)
    return cell


PLASTICITIES: list[dict[str, Any]] = [
    {},
    {"rule": "oja", "alpha": "neuron"},
    {"modulation": "simple", "fan_out": True, "alpha": "scalar"},
    {"modulation": "retroactive", "bound": "soft"},
]


def test_lstm_is_torchs() -> None:
    """Otherwise the control that plastic nets are compared with is not an LSTM."""
    cell, theirs = build("lstm"), nn.LSTM(INPUTS, UNITS).double()
    theirs.load_state_dict({f"{n.split('.')[1]}_l0": p for n, p in cell.named_parameters()})
    expected, (hidden, memory) = theirs(inputs())
    outputs, final = sequence(cell, inputs())
    close(outputs, expected)
    close(final.hidden, hidden[0])
    close(final.cell, memory[0])


def test_gru_is_torchs() -> None:
    """Otherwise the control that plastic nets are compared with is not a GRU."""
    cell, theirs = build("gru"), nn.GRU(INPUTS, UNITS).double()
    theirs.load_state_dict({f"{n.split('.')[1]}_l0": p for n, p in cell.named_parameters()})
    expected, hidden = theirs(inputs())
    outputs, final = sequence(cell, inputs())
    close(outputs, expected)
    close(final.hidden, hidden[0])


def torch_rnn(weight_ih: Tensor, bias: Tensor, weight_hh: Tensor) -> nn.RNN:
    """Torch's RNN, whose second bias is set to zero because ours has only one."""
    theirs = nn.RNN(INPUTS, UNITS).double()
    names = ("weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0")
    values = (weight_ih, bias, weight_hh, torch.zeros(UNITS))
    theirs.load_state_dict(dict(zip(names, values, strict=True)))
    return theirs


def test_rnn_is_torchs() -> None:
    """Otherwise the control that plastic nets are compared with is not an RNN."""
    cell = build("rnn")
    expected, hidden = torch_rnn(*(cell.get_parameter(n) for n in RNN))(inputs())
    outputs, final = sequence(cell, inputs())
    close(outputs, expected)
    close(final.hidden, hidden[0])


RNN = ("input.weight", "input.bias", "recurrent.weight")
PLASTIC_RNN = ("input.weight", "input.bias", "connection.weight")


@pytest.mark.parametrize("options", PLASTICITIES)
def test_plastic_rnn_without_plasticity_is_torchs_rnn(options: dict[str, Any]) -> None:
    """Otherwise the trace has an effect on the activity that alpha does not control."""
    cell = without_plasticity(build("plastic_rnn", **options))
    expected, _ = torch_rnn(*(cell.get_parameter(n) for n in PLASTIC_RNN))(inputs())
    close(sequence(cell, inputs())[0], expected)


@pytest.mark.parametrize("options", PLASTICITIES)
def test_plastic_rnn_without_plasticity_is_rnn(options: dict[str, Any]) -> None:
    """Otherwise the plain net is not the control of the plastic one."""
    cell, plain = without_plasticity(build("plastic_rnn", **options)), build("rnn")
    weights = (cell.get_parameter(name) for name in PLASTIC_RNN)
    plain.load_state_dict(dict(zip(RNN, weights, strict=True)))
    close(sequence(cell, inputs())[0], sequence(plain, inputs())[0])


@pytest.mark.parametrize("options", [*PLASTICITIES, {**PLASTICITIES[2], "modulator_input": "cell"}])
def test_plastic_lstm_without_plasticity_is_torchs(options: dict[str, Any]) -> None:
    """Otherwise the gates are not in torch's order i, f, g, o."""
    cell = without_plasticity(build("plastic_lstm", **options))
    i, f, o = cell.get_parameter("gates.weight").chunk(3)
    bias_i, bias_f, bias_o = cell.get_parameter("gates.bias").chunk(3)
    theirs = nn.LSTM(INPUTS, UNITS).double()
    theirs.load_state_dict(
        {
            "weight_ih_l0": cell.get_parameter("input.weight"),
            "bias_ih_l0": cell.get_parameter("input.bias"),
            "weight_hh_l0": torch.cat([i, f, cell.get_parameter("connection.weight"), o]),
            "bias_hh_l0": torch.cat([bias_i, bias_f, torch.zeros(UNITS), bias_o]),
        }
    )
    expected, (hidden, memory) = theirs(inputs())
    outputs, final = sequence(cell, inputs())
    close(outputs, expected)
    close(final.hidden, hidden[0])
    close(final.cell, memory[0])


def test_identity_gives_back_its_input() -> None:
    """Otherwise an agent with this core is not feed-forward."""
    cell = build_cell("identity", INPUTS)
    outputs, state = sequence(cell, inputs(), episode_starts=torch.ones(STEPS, BATCH))
    assert torch.equal(outputs, inputs())
    assert leaves(state) == []
    assert cell.hidden_size == INPUTS


def test_clamped_units_are_their_input_even_where_it_is_zero() -> None:
    """Otherwise a unit is not clamped to an input of exactly zero, or a free unit is clamped."""
    cell = build_cell("plastic_rnn", 2 * UNITS, hidden_size=UNITS, input_mode="clamped")
    value, mask = torch.zeros(BATCH, UNITS), torch.zeros(BATCH, UNITS)
    value[:, 1], mask[:, :2] = 3.0, 1.0
    state = cell.initial_state(BATCH)._replace(hidden=torch.ones(BATCH, UNITS))
    output, _ = cell(torch.cat([value, mask], dim=1), state)
    assert output[0, 0] == 0.0
    assert output[0, 1] == 3.0
    assert (output[:, 2:] > 0).all()


def test_a_label_forces_the_readout_and_is_learnt_in_one_step() -> None:
    """Otherwise the readout does not associate the embedding with its label."""
    cell = build_cell("plastic_readout", 4 + 3, hidden_size=3, alpha_scale=0.5, bound="decay")
    assert cell.connection is not None
    nn.init.constant_(cell.connection.alpha, 10.0)
    embedding, label, none = torch.eye(4)[[1]], torch.eye(3)[[2]], torch.zeros(1, 3)
    output, state = cell(torch.cat([embedding, label], dim=1), cell.initial_state(1))
    torch.testing.assert_close(output, label)
    before, _ = cell(torch.cat([embedding, none], dim=1), cell.initial_state(1))
    after, _ = cell(torch.cat([embedding, none], dim=1), state)
    assert after[0, 2] > before[0, 2] + 0.05


def test_a_states_leaves_have_the_batch_first(cell: Cell[Any]) -> None:
    """Otherwise the states of single environments cannot be selected and joined."""
    for leaf in leaves(cell.initial_state(3)):
        assert leaf.shape[0] == 3
        assert not leaf.any()
        assert leaf.dtype == torch.float64


def test_a_step_gives_a_state_of_the_same_kind(cell: Cell[Any]) -> None:
    """Otherwise a step adds or loses a leaf of the state."""
    state = cell.initial_state(2)
    output, after = cell(torch.ones(2, cell.input_size, dtype=torch.float64), state)
    assert output.shape == (2, cell.hidden_size)
    assert type(after) is type(state)
    assert [leaf.shape for leaf in leaves(after)] == [leaf.shape for leaf in leaves(state)]


def test_modulation_is_there_where_there_is_a_modulator(cell: Cell[Any]) -> None:
    """Otherwise a viewer shows another signal than the modulation, one per row or per neuron."""
    modulation = cell.modulation(cell.initial_state(2))
    options = cell.config if cell.connection is not None else None
    if not isinstance(options, Plasticity) or options.modulation == "none":
        assert modulation is None
    else:
        assert modulation is not None
        width = cell.hidden_size if options.fan_out else 1
        assert modulation.shape == (2, width)


def test_the_module_keeps_no_state(cell: Cell[Any]) -> None:
    """Otherwise a second run of the same module changes the results of the first."""
    before = {name: (x.shape, x._version) for name, x in cell.state_dict().items()}
    attributes = set(vars(cell))
    for batch in (1, 4):
        cell(torch.ones(batch, cell.input_size, dtype=torch.float64), cell.initial_state(batch))
    assert {name for name, _ in cell.named_buffers()} <= {"connection.alpha"}, "a constant"
    assert {name: (x.shape, x._version) for name, x in cell.state_dict().items()} == before
    assert set(vars(cell)) == attributes


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_by_name_is_a_cell_by_config(name: str) -> None:
    """Otherwise the config stored with a run builds another net."""
    torch.manual_seed(0)
    by_name = build_cell(name, 12)
    torch.manual_seed(0)
    by_config = build_cell(CELLS[name].config(), 12)
    assert type(by_name) is type(by_config) is CELLS[name].load()
    for left, right in zip(by_name.parameters(), by_config.parameters(), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("name", [name for name in CELLS if name != "identity"])
def test_options_beside_a_config_change_it(name: str) -> None:
    config = CELLS[name].config(hidden_size=7)
    assert build_cell(config, 12).hidden_size == 7
    assert build_cell(config, 12, hidden_size=8).hidden_size == 8


@pytest.mark.parametrize("name", CELLS)
def test_a_config_is_data(name: str) -> None:
    """Configs are frozen; otherwise one that several runs share can change."""
    config = CELLS[name].config()
    assert cell_fields(name) == tuple(field.name for field in dataclasses.fields(config))
    for field in cell_fields(name):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, field, getattr(config, field))


@pytest.mark.parametrize("name", ["Plastic_RNN", "transformer", ""])
def test_an_unknown_core_is_refused_with_a_list_of_cores(name: str) -> None:
    with pytest.raises(ValueError, match=f"there is no core '{name}'") as caught:
        build_cell(name, 3)
    assert all(known in str(caught.value) for known in CELLS)


@pytest.mark.parametrize("name", CELLS)
def test_an_unknown_option_is_refused_with_a_list_of_options(name: str) -> None:
    with pytest.raises(ValueError, match="no option 'hidden_sise'") as caught:
        build_cell(name, 12, hidden_sise=3)
    assert all(known in str(caught.value) for known in cell_fields(name))


def test_what_is_neither_name_nor_config_is_refused() -> None:
    with pytest.raises(ValueError, match="neither the name of a core nor the config of one"):
        build_cell(nn.Linear(2, 2), 3)


@pytest.mark.parametrize(("mode", "right"), [("additive", 5), ("clamped", 10)])
@pytest.mark.parametrize("wrong", [1, 4, 6, 11])
def test_inputs_to_units_fit_the_units(mode: str, right: int, wrong: int) -> None:
    """Otherwise inputs of a wrong width are broadcast or cut."""
    message = rf"input_mode='{mode}' with hidden_size=5 needs input_size={right}, not {wrong}"
    with pytest.raises(ValueError, match=message):
        build_cell("plastic_rnn", wrong, hidden_size=5, input_mode=mode)


@pytest.mark.parametrize("wrong", [1, 4, 5])
def test_a_readouts_input_has_room_for_an_embedding(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"input_size must be above 5, not {wrong}"):
        build_cell("plastic_readout", wrong, hidden_size=5)
