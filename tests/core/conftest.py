"""Small cells of every kind, in float64, with large random weights."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from plasticrl.core import CELLS, Cell, Plasticity, build_cell, cell_fields
from plasticrl.core.backends import cpu

INPUT_SIZE = 6
PLASTIC: list[dict[str, Any]] = [
    {"bound": "decay", "alpha": "neuron"},
    {"rule": "oja", "bound": "none", "alpha": "scalar"},
    {"rule": "delta", "bound": "none", "eta_init": 0.3},
    {"rule": "abcd", "modulation": "simple", "bound": "soft"},
    {"rule": "delta", "modulation": "retroactive", "clip": 0.3},
    {"modulation": "simple", "fan_out": True, "clip": 0.3},
    {"modulation": "simple", "bound": "soft", "modulator_activation": "sigmoid"},
    {"modulation": "retroactive", "clip": 0.3, "modulator_activation": "linear"},
    {"modulation": "retroactive", "rule": "oja", "bound": "soft", "fan_out": True},
    {"modulation": "retroactive", "modulator": "pair", "eligibility_squash": "tanh", "clip": 50.0},
    {"modulation": "gated", "rule": "delta", "fan_out": True},
]
MORE: dict[str, list[dict[str, Any]]] = {
    "lstm": [{"num_layers": 2}],
    "plastic_rnn": [
        {"num_layers": 2, "modulation": "retroactive"},
        {"trial_input": 0, "modulation": "retroactive"},
        {"input_mode": "additive", "hidden_size": INPUT_SIZE},
        {"input_mode": "clamped", "modulation": "simple"},
    ],
    "plastic_lstm": [{"modulation": "simple", "modulator_input": "cell"}],
}


def kinds() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, (config, *_) in CELLS.items():
        yield name, {}
        plastic = PLASTIC if issubclass(config, Plasticity) else []
        for options in plastic + MORE.get(name, []):
            if name != "plastic_readout" or "modulation" not in options:
                yield name, options


def described(kind: tuple[str, dict[str, Any]]) -> str:
    return "-".join([kind[0], *(f"{name}={value}" for name, value in kind[1].items())])


def small(name: str, options: dict[str, Any]) -> Cell[Any]:
    """A cell that reads six inputs. Its parameters are N(0, .5^2), so that plasticity is strong."""
    size = {"hidden_size": 3} if "hidden_size" in cell_fields(name) else {}
    built = build_cell(name, INPUT_SIZE, **{**size, **options}).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return built


@pytest.fixture(scope="session", params=kinds(), ids=described)
def cell(request: pytest.FixtureRequest) -> Cell[Any]:
    return small(*request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the eager and the fast backend, or only with that of --backend."""
    if "backend" in metafunc.fixturenames:
        name = metafunc.config.getoption("--backend")
        backends = {"eager": ["eager"], "fused": ["auto"], None: ["eager", "auto"]}
        metafunc.parametrize("backend", backends[name])


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use three threads even for little work."""
    before = torch.get_num_threads()
    monkeypatch.setattr(cpu, "GROUP_WORK", 1)
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)
