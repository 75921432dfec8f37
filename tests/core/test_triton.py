"""The Triton kernels agree with the eager backend, on a GPU or else in the interpreter."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core import test_golden
from tests.core.cases import TOLERANCE, Case, plastic_cells

from plasticrl.core import Cell, build_cell
from plasticrl.core.backends import fused
from plasticrl.core.backends.eager import EAGER
from plasticrl.core.backends.fused import FusedBackend
from plasticrl.core.population import Population
from plasticrl.core.state import leaves, map_leaves

pytest.importorskip("triton", reason="Triton, for the GPU's loops, is not installed")
from plasticrl.core.backends.cuda import TritonKernels

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ON_CHIP, TILED = TritonKernels(n_programs=2), TritonKernels(rows=8, n_programs=2)
VARIANTS = pytest.mark.parametrize("kernels", [ON_CHIP, TILED], ids=["on-chip", "tiled"])
KINDS: list[dict[str, Any]] = [{}, {"modulation": "retroactive", "fan_out": True, "rule": "oja"}]
GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.npz"))
VECTORS = {path.stem: test_golden.load(path) for path in GOLDEN}
PLASTIC_RNNS = [name for name, vector in VECTORS.items() if vector.core == "plastic_rnn"]
EVERY_VALUE = (
    "associative_additive_oja",
    "associative_clamped_decay",
    "rnn_retroactive_soft",
    "rnn_simple_decay_sigmoid",
    "rnn_simple_fanout_hard",
    "rnn_simple_hard_linear",
)
"""Vectors that have together every value of every option that the files have."""


class DeviceCase(Case):
    """A case on the device, with its results on the CPU."""

    def on(self, device: str) -> "DeviceCase":
        self.cell = self.cell.to(device)
        self.inputs = self.inputs.detach().to(device).requires_grad_()
        self.state = map_leaves(lambda x: x.detach().to(device).requires_grad_(), self.state)
        self.starts = self.starts.to(device)
        self.upstream = [upstream.to(device) for upstream in self.upstream]
        return self

    def results_with(self, kernels: TritonKernels) -> dict[str, torch.Tensor]:
        found = self.on(DEVICE).results(FusedBackend(kernels).run)
        return {name: value.cpu() for name, value in found.items()}


@VARIANTS
@settings(max_examples=12)
@given(
    cell=plastic_cells(("plastic_rnn",)),
    n_steps=st.sampled_from([1, 2, 5, 9]),
    n_rows=st.sampled_from([1, 3]),
    p_start=st.sampled_from([0.0, 0.3]),
)
def test_triton_equals_eager(
    kernels: TritonKernels, cell: Cell[Any], n_steps: int, n_rows: int, p_start: float
) -> None:
    """Otherwise a net learns something else on a GPU."""
    case = DeviceCase(cell, n_steps, n_rows, p_start)
    expected = case.results(EAGER.run)
    for name, value in case.results_with(kernels).items():
        tolerance = TOLERANCE[value.dtype]
        worst = ((value - expected[name].cpu()).abs() / (1 + expected[name].abs().cpu())).max()
        assert worst < tolerance, f"{name} is off by {worst}"


@VARIANTS
@pytest.mark.parametrize("options", KINDS)
def test_every_net_of_a_population_has_its_own_weights(
    kernels: TritonKernels, options: dict[str, Any]
) -> None:
    """Otherwise seeds that are trained together on a GPU are mixed up."""
    torch.manual_seed(0)
    cells = [build_cell("plastic_rnn", 3, hidden_size=9, **options).double() for _ in range(3)]
    case = DeviceCase(Population(cells), 5, 6, 0.3)  # type: ignore[arg-type]
    expected = case.results(EAGER.run)
    for n_programs in (1, 6):
        for name, value in case.results_with(replace(kernels, n_programs=n_programs)).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-9, msg=name)


@VARIANTS
@settings(max_examples=8)
@given(cell=plastic_cells(("plastic_rnn",)), p_start=st.sampled_from([0.0, 0.5]))
def test_a_step_of_triton_equals_eager(
    kernels: TritonKernels, cell: Cell[Any], p_start: float
) -> None:
    """Otherwise an agent acts with another net on a GPU."""
    case = DeviceCase(cell, 2, 3, p_start).on(DEVICE)
    ours, theirs = (map_leaves(lambda leaf: leaf.detach().clone(), case.state) for _ in range(2))
    step = FusedBackend(kernels).stepper(cell, ours, 0)
    expected = EAGER.stepper(cell, theirs, 0)
    tolerance = TOLERANCE[case.inputs.dtype]
    with torch.no_grad():
        for inputs, starts in zip(case.inputs, case.starts, strict=True):
            pairs = [(step(inputs, starts), expected(inputs, starts))]
            pairs += zip(leaves(ours), leaves(theirs), strict=True)
            for left, right in pairs:
                torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance)


def golden_runs() -> Iterator[Any]:
    """Every vector in one block, and in tiles, which use the same functions, those that suffice."""
    for name in PLASTIC_RNNS:
        yield pytest.param(ON_CHIP, name, id=f"on-chip-{name}")
    for name in EVERY_VALUE:
        yield pytest.param(TILED, name, id=f"tiled-{name}")


def test_the_vectors_in_tiles_have_every_value_of_every_option() -> None:
    """Otherwise an option of the papers is not tested in tiles."""
    options = ("rule", "bound", "alpha", "modulation", "fan_out", "modulator_activation")
    for option in (*options, "input_mode"):
        every, ours = (
            {str(VECTORS[name].meta.get(option)) for name in names}
            for names in (PLASTIC_RNNS, EVERY_VALUE)
        )
        assert ours == every, option


@pytest.mark.parametrize(("kernels", "name"), list(golden_runs()))
def test_golden_vectors(kernels: TritonKernels, name: str) -> None:
    """Otherwise the equations on a GPU differ from the papers'."""
    meta, arrays = VECTORS[name].meta, VECTORS[name].arrays
    vector = test_golden.Vector(meta, {key: array.to(DEVICE) for key, array in arrays.items()})
    ours = patch.object(fused, "kernels_for", lambda device_type: kernels)
    with ours, torch.device(DEVICE):
        whole = test_golden.run(vector, "fused", one_by_one=False)
    for value, expected in vector.expected.items():
        if value in whole.values:
            test_golden.same(whole.values[value], expected, value)
    for parameter, gradient in test_golden.expected_gradients(vector):
        test_golden.same(whole.gradients[parameter], gradient, parameter)
    expected_traces = [vector.expected[n][-1] for n in whole.final._fields if n in vector.expected]
    for found, expected in zip(leaves(whole.final), expected_traces, strict=True):
        test_golden.same(found, expected, "final state")


@VARIANTS
@pytest.mark.parametrize("options", KINDS)
def test_the_same_bits_every_time(kernels: TritonKernels, options: dict[str, Any]) -> None:
    """Otherwise a run cannot be repeated with its seed."""
    torch.manual_seed(0)
    case = DeviceCase(build_cell("plastic_rnn", 3, hidden_size=9, **options), 3, 3, 0.1)
    first = case.results_with(kernels)
    for name, value in case.results_with(kernels).items():
        assert torch.equal(value, first[name]), name


@VARIANTS
def test_what_is_not_finite_stays_visible(kernels: TritonKernels) -> None:
    """Otherwise a diverged run continues with wrong numbers; a new episode is finite again."""
    case = DeviceCase(build_cell("plastic_rnn", 3, hidden_size=4), 4, 2, 0.0).on(DEVICE)
    case.starts[3] = True
    with torch.no_grad():
        case.inputs[1, 0, 0] = torch.nan
        outputs, _ = FusedBackend(kernels).run(case.cell, case.inputs, case.state, case.starts)
    assert outputs[0].isfinite().all()
    assert outputs[1:3, 0].isnan().all()
    assert outputs[:, 1].isfinite().all()
    assert outputs[3].isfinite().all()


def test_the_interpreter_takes_nothing_that_the_compiler_refuses() -> None:
    """Otherwise the tests above pass, but no GPU can run the kernels."""
    environment = {name: x for name, x in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(Path(__file__).parent / "compile_triton.py"), "20", "257"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.stdout.split() == 2 * ["on_chip", "on_chip"] + 2 * ["tiled", "tiled"], done.stderr


def test_without_a_gpu_triton_is_not_imported() -> None:
    """Otherwise every start takes longer, or fails if Triton is not installed."""
    code = (
        "import sys, torch\n"
        "from plasticrl.core import build_cell, stepper\n"
        "cell = build_cell('plastic_rnn', 3, hidden_size=4)\n"
        "stepper(cell, cell.initial_state(1), 'fused')\n"
        "print('triton' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout == "False\n"


def test_a_plastic_lstm_is_not_run_as_an_rnn() -> None:
    """Otherwise the kernels for a GPU compute the equations of another cell."""
    cell = build_cell("plastic_lstm", 3, hidden_size=4)
    backend = FusedBackend(TritonKernels())
    assert not backend.supports(cell, torch.zeros(2, 1, 3))
    assert backend.supports(build_cell("plastic_rnn", 3, hidden_size=4), torch.zeros(2, 1, 3))
