"""The cells agree with independent check vectors to 1e-9: values, traces and gradients.

A vector is an .npz file in float64. It has ``meta`` (JSON, with the options of the cell),
``param.*``, ``input`` (and ``label``), the expected values at every step, (T, B, ...), upstream
gradients ``grad_*`` of these values, and the expected gradients ``grad.*`` of the loss, which is
the sum of the products of values and upstream gradients.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from plasticrl.core import Cell, build_cell, cell_fields, sequence
from plasticrl.core.state import leaves

HEADS = {"logits": "actor", "value": "critic"}
NEEDS_MODULATOR = {"fan_out", "modulator_activation", "modulator_input"}
IN_CONNECTION = {"alpha", "eta", "modulator.weight", "modulator.bias"}


@dataclass(frozen=True)
class Vector:
    """The content of one file."""

    meta: dict[str, Any]
    arrays: dict[str, Tensor]

    @property
    def core(self) -> str:
        return str(self.meta["core"])

    def group(self, prefix: str) -> dict[str, Tensor]:
        """The arrays whose names have this prefix, by their names without it."""
        named = self.arrays.items()
        return {name.removeprefix(prefix): x for name, x in named if name.startswith(prefix)}

    @property
    def expected(self) -> dict[str, Tensor]:
        """The values that are expected at every step."""
        given = ("input", "label", "param.", "grad.", "grad_")
        return {name: x for name, x in self.arrays.items() if not name.startswith(given)}


def load(path: Path) -> Vector:
    with np.load(path) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files if name != "meta"}
        return Vector(json.loads(str(file["meta"])), arrays)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder: Path = metafunc.config.getoption("--golden")
    paths = sorted(folder.glob("*.npz"))
    metafunc.parametrize(
        "vector", [load(path) for path in paths], ids=[path.stem for path in paths]
    )


def has_a_meaning(name: str, meta: dict[str, Any]) -> bool:
    """Whether a cell with this meta uses the option; the files also list unused ones."""
    if name == "clip":
        return bool(meta.get("bound", "hard") == "hard")
    return name not in NEEDS_MODULATOR or meta.get("modulation", "none") != "none"


def build(vector: Vector) -> Cell[Any]:
    """The cell of a vector with its parameters, all of which must be in the file."""
    parameters = cell_parameters(vector, "param.")
    meta = {name: vector.meta[name] for name in cell_fields(vector.core) if name in vector.meta}
    options = {name: value for name, value in meta.items() if has_a_meaning(name, vector.meta)}
    readout = vector.core == "plastic_readout"
    hidden_size = vector.arrays["output"].shape[2] if readout else vector.arrays["hidden"].shape[2]
    input_size = inputs(vector).shape[2]
    cell = build_cell(vector.core, input_size, hidden_size=hidden_size, **options).double()
    cell.load_state_dict(parameters)
    return cell


def inputs(vector: Vector) -> Tensor:
    """The cell's inputs: values and masks, or embeddings and labels, in one tensor."""
    given = vector.arrays["input"]
    if vector.meta.get("input_mode") == "clamped":
        return torch.cat([given, (given != 0).double()], dim=2)
    if "label" in vector.arrays:
        return torch.cat([given, vector.arrays["label"]], dim=2)
    return given


def cell_parameters(vector: Vector, prefix: str) -> dict[str, Tensor]:
    """``param.*`` or ``grad.*`` under the cell's names, without those of the heads."""
    renamed: dict[str, Tensor] = {}
    for name, array in vector.group(prefix).items():
        if not name.startswith(("actor.", "critic.", "input")):
            renamed.update(cell_names(vector.core, name, array))
    return renamed


def cell_names(core: str, name: str, array: Tensor) -> dict[str, Tensor]:
    if core in ("lstm", "gru"):
        return {f"cell.{name}": array}
    if name in IN_CONNECTION:
        return {f"connection.{name}": array}
    if name.startswith("fan_out."):
        return {f"connection.modulator.{name}": array}
    if core == "plastic_lstm" and name.endswith("_hh"):
        i, f, g, o = array.chunk(4)
        gates = {f"gates.{name.removesuffix('_hh')}": torch.cat([i, f, o])}
        # The plastic block has one bias only; the files carry zeros in the place of the second.
        return gates | ({"connection.weight": g} if name == "weight_hh" else {})
    recurrent = "recurrent.weight" if core == "rnn" else "connection.weight"
    known = {"weight_hh": recurrent, "weight": recurrent}
    return {known.get(name, f"input.{name.removesuffix('_ih')}"): array}


@dataclass(frozen=True)
class Seen:
    """The results of a run: values (T, B, ...) by name, final state, and gradients by name."""

    values: dict[str, Tensor]
    final: tuple[Any, ...]
    gradients: dict[str, Tensor]


def run(vector: Vector, backend: str, one_by_one: bool) -> Seen:
    """Run a vector in one piece, or one step at a time to see every state."""
    cell = build(vector)
    fed = inputs(vector).requires_grad_()
    values, final = walk(cell, fed, backend) if one_by_one else whole(cell, fed, backend)
    heads = {name: x.clone().requires_grad_() for name, x in vector.group("param.").items()}
    for name, head in HEADS.items():
        if f"{head}.weight" in heads:
            values[name] = F.linear(
                values["output"], heads[f"{head}.weight"], heads[f"{head}.bias"]
            )
    upstream = {name: g for name, g in vector.group("grad_").items() if name in values}
    loss = torch.stack([(values[name] * g).sum() for name, g in upstream.items()]).sum()

    sources = dict(cell.named_parameters()) | {"input": fed}
    sources |= {name: x for name, x in heads.items() if name.startswith(("actor.", "critic."))}
    found = torch.autograd.grad(loss, list(sources.values()))
    gradients = dict(zip(sources, found, strict=True))
    gradients["input"] = gradients["input"][..., : vector.arrays["input"].shape[2]]
    return Seen(values, final, gradients)


def whole(cell: Cell[Any], fed: Tensor, backend: str) -> tuple[dict[str, Tensor], tuple[Any, ...]]:
    outputs, final = sequence(cell, fed, backend=backend)
    return {"hidden": outputs, "output": outputs}, final


def walk(cell: Cell[Any], fed: Tensor, backend: str) -> tuple[dict[str, Tensor], tuple[Any, ...]]:
    steps: list[dict[str, Tensor]] = []
    state = None
    for drive in fed.split(1):
        output, state = sequence(cell, drive, state, backend=backend)
        seen = {"output": output[0], **state._asdict(), "modulation": cell.modulation(state)}
        steps.append({name: x for name, x in seen.items() if x is not None})
    assert state is not None
    return {name: torch.stack([step[name] for step in steps]) for name in steps[0]}, state


def expected_gradients(vector: Vector) -> Iterator[tuple[str, Tensor]]:
    yield from cell_parameters(vector, "grad.").items()
    for name, gradient in vector.group("grad.").items():
        if name.startswith(("actor.", "critic.", "input")):
            yield name, gradient


def same(found: Tensor, expected: Tensor, name: str) -> None:
    torch.testing.assert_close(
        found, expected, rtol=1e-9, atol=1e-9, msg=lambda message: f"{name}: {message}"
    )


def test_every_step_has_the_values_and_traces_of_the_vector(vector: Vector, backend: str) -> None:
    """Otherwise the forward equations or the order of the update differ from the papers'."""
    seen = run(vector, backend, one_by_one=True)
    for name, expected in vector.expected.items():
        same(seen.values[name], expected, name)


@pytest.mark.parametrize("one_by_one", [False, True], ids=["whole", "one-by-one"])
def test_gradients_are_those_of_the_vector(vector: Vector, backend: str, one_by_one: bool) -> None:
    """Otherwise the net learns by another gradient than the papers'."""
    seen = run(vector, backend, one_by_one)
    for name, expected in expected_gradients(vector):
        same(seen.gradients[name], expected, name)


def test_in_one_piece_it_gives_the_same_values_and_final_state(
    vector: Vector, backend: str
) -> None:
    """Otherwise the time loop changes the results."""
    seen, stepwise = run(vector, backend, one_by_one=False), run(vector, backend, one_by_one=True)
    for name in vector.expected.keys() & seen.values.keys():
        same(seen.values[name], vector.expected[name], name)
    for found, expected in zip(leaves(seen.final), leaves(stepwise.final), strict=True):
        same(found, expected, "final state")


def test_every_parameter_has_its_gradient_in_the_vector(vector: Vector) -> None:
    """Otherwise the gradient of a parameter is not checked."""
    named = dict(build(vector).named_parameters())
    assert named.keys() == cell_parameters(vector, "grad.").keys()


def test_the_second_bias_of_the_plastic_block_is_zero(vector: Vector) -> None:
    """Otherwise the vector's LSTM has a bias that ours does not have."""
    if vector.core == "plastic_lstm":
        assert not vector.arrays["param.bias_hh"].chunk(4)[2].any()
