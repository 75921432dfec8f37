"""The numbers of parameters are those that the papers give (DP 2018, BP 2019)."""

from typing import Any

import pytest
from torch import nn

from plasticrl.core import build_cell


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def agent(core: str, input_size: int, n_actions: int, hidden_size: int, **options: Any) -> int:
    """The number of parameters of a cell with an actor and a critic."""
    cell = build_cell(core, input_size, hidden_size=hidden_size, **options)
    return count(cell, nn.Linear(hidden_size, n_actions), nn.Linear(hidden_size, 1))


@pytest.mark.parametrize(
    ("core", "hidden_size", "options", "expected"),
    [
        ("plastic_rnn", 100, {"modulation": "simple"}, 22_406),
        ("plastic_rnn", 100, {"modulation": "retroactive"}, 22_407),
        ("plastic_rnn", 100, {"modulation": "simple", "fan_out": True}, 22_606),
        ("plastic_rnn", 101, {}, 22_731),
        ("rnn", 139, {}, 22_523),
        ("rnn", 100, {}, 12_305),
    ],
)
def test_grid_maze_agents(
    core: str, hidden_size: int, options: dict[str, Any], expected: int
) -> None:
    """BP 2019; otherwise our net has parameters too many or too few."""
    assert agent(core, 17, 4, hidden_size, **options) == expected


@pytest.mark.parametrize(
    ("core", "options", "expected"),
    [
        ("rnn", {}, 46_203),
        ("plastic_rnn", {}, 86_204),
        # The paper's modulated nets, 86,405 and 86,406, carry a spare eta that nothing reads.
        ("plastic_rnn", {"modulation": "simple"}, 86_405 - 1),
        ("plastic_rnn", {"modulation": "retroactive"}, 86_406 - 1),
    ],
)
def test_cue_reward_agents(core: str, options: dict[str, Any], expected: int) -> None:
    """BP 2019; otherwise our net has parameters too many or too few."""
    assert agent(core, 27, 2, 200, **options) == expected


def test_the_agent_of_transitive_inference() -> None:
    """Miconi & Kay 2025 (published code): two modulators, a gain and eta."""
    options = {"modulation": "retroactive", "modulator": "pair", "eligibility_squash": "tanh"}
    assert agent("plastic_rnn", 37, 2, 200, **options) == 88_607


@pytest.mark.parametrize(
    ("input_mode", "input_size", "hidden_size", "expected"),
    [
        ("additive", 1_001, 1_001, 2_004_003),
        ("additive", 51, 51, 5_203),
        ("clamped", 2 * 1_025, 1_025, 2_101_251),
    ],
)
def test_associative_nets(
    input_mode: str, input_size: int, hidden_size: int, expected: int
) -> None:
    """DP 2018; otherwise there are other parameters than w, alpha and eta."""
    cell = build_cell(
        "plastic_rnn", input_size, hidden_size=hidden_size, input_mode=input_mode, bound="decay"
    )
    assert count(cell) == expected == 2 * hidden_size**2 + 1


def test_omniglot_net() -> None:
    """DP 2018: four convolutions 3x3 of 64 channels, then 64 features -> 5 plastic classes."""
    convolutions = [nn.Conv2d(channels, 64, 3) for channels in (1, 64, 64, 64)]
    readout = build_cell("plastic_readout", 64 + 5, hidden_size=5, rule="oja", bound="none")
    assert count(*convolutions, readout) == 112_065


def test_large_language_model() -> None:
    """BP 2019; otherwise our plastic LSTM has other gates than the paper's."""
    layers = [
        build_cell(
            "plastic_lstm",
            input_size,
            hidden_size=hidden_size,
            alpha="neuron",
            modulation="simple",
            fan_out=True,
        )
        for input_size, hidden_size in ((400, 1_149), (1_149, 1_149), (1_149, 400))
    ]
    tied_embedding, decoder_bias = 10_000 * 400, 10_000
    assert count(*layers) + tied_embedding + decoder_bias == 24_198_893
