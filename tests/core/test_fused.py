"""The fused backend gives the same values and gradients as the eager one."""

import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config, njit
from tests.core.cases import TOLERANCE, Case, plastic_cells
from torch import Tensor

from plasticrl.core import Cell, build_cell, sequence, stepper
from plasticrl.core.backends import cpu, numba_update
from plasticrl.core.backends.cpu import NumbaKernels
from plasticrl.core.backends.eager import EAGER
from plasticrl.core.backends.fused import FUSED, choose_segment_length
from plasticrl.core.backends.numba_backward import compiled_backward
from plasticrl.core.backends.numba_forward import compiled_forward
from plasticrl.core.backends.numba_step import compiled_step
from plasticrl.core.backends.numba_update import Kind
from plasticrl.core.backends.plastic_net import NetInputs, NetState, PlasticNet
from plasticrl.core.cells.configs import PlasticRNNConfig
from plasticrl.core.cells.plastic_rnn import PlasticRNN
from plasticrl.core.numba_cache import fingerprint, versioned
from plasticrl.core.rules import RULES
from plasticrl.core.state import leaves, map_leaves

N_CHECKS = 100


@settings(max_examples=N_CHECKS)
@given(
    cell=plastic_cells(),
    n_steps=st.sampled_from([1, 2, 3, 5, 9, 12]),
    n_rows=st.sampled_from([1, 2, 5]),
    p_start=st.sampled_from([0.0, 0.2, 0.7]),
)
def test_fused_equals_eager(cell: Cell[Any], n_steps: int, n_rows: int, p_start: float) -> None:
    """Otherwise the fast backend does not compute the equations."""
    case = Case(cell, n_steps, n_rows, p_start)
    expected = case.results(EAGER.run)
    for name, value in case.results(FUSED.run).items():
        tolerance = TOLERANCE[value.dtype]
        worst = ((value - expected[name]).abs() / (1 + expected[name].abs())).max().item()
        assert worst < tolerance, f"{name} is off by {worst}"


@settings(max_examples=N_CHECKS // 2)
@given(cell=plastic_cells(), starts=st.booleans())
def test_a_step_equals_eager(cell: Cell[Any], starts: bool) -> None:
    """Otherwise an agent acts with another net than the one that is trained."""
    case = Case(cell, 1, 3, 0.5 if starts else 0.0)
    ours, theirs = (map_leaves(lambda leaf: leaf.detach().clone(), case.state) for _ in range(2))
    output = stepper(cell, ours, "fused")(case.inputs[0], case.starts[0])
    expected = stepper(cell, theirs, "eager")(case.inputs[0], case.starts[0])
    tolerance = TOLERANCE[output.dtype]
    for left, right in zip([output, *leaves(ours)], [expected, *leaves(theirs)], strict=True):
        torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance)


CORES = ("plastic_rnn", "plastic_lstm")
KINDS: list[dict[str, Any]] = [{}, {"modulation": "retroactive", "fan_out": True, "rule": "oja"}]


@pytest.mark.parametrize("options", KINDS)
def test_the_lstm_in_single_precision_equals_eager(options: dict[str, Any]) -> None:
    """Otherwise a number in its loops is of another precision than the arrays."""
    torch.manual_seed(0)
    case = Case(build_cell("plastic_lstm", 3, hidden_size=9, **options), 12, 3, 0.1)
    expected = case.results(EAGER.run)
    for name, value in case.results(FUSED.run).items():
        torch.testing.assert_close(value, expected[name], rtol=2e-4, atol=2e-4, msg=name)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("options", KINDS)
def test_the_same_bits_every_time(core: str, options: dict[str, Any]) -> None:
    """Otherwise a run cannot be repeated with its seed."""
    torch.manual_seed(0)
    case = Case(build_cell(core, 3, hidden_size=33, **options), 40, 5, 0.1)
    first = case.results(FUSED.run)
    for _ in range(3):
        for name, value in case.results(FUSED.run).items():
            assert torch.equal(value, first[name]), name


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("options", KINDS)
@pytest.mark.usefixtures("three_threads")
def test_threads_share_the_rows(core: str, options: dict[str, Any]) -> None:
    """Otherwise a row is skipped or computed twice, or results depend on the threads."""
    torch.manual_seed(0)
    cell = build_cell(core, 3, hidden_size=7, **options).double()
    case = Case(cell, 9, 5, 0.1)
    assert list(cpu._cuts(5, 9 * 7**2)) == [0, 1, 2, 3, 4, 5]
    expected, first = case.results(EAGER.run), case.results(FUSED.run)
    torch.set_num_threads(1)
    for name, value in case.results(FUSED.run).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-9, msg=name)
        assert torch.equal(value, first[name]), name
    torch.set_num_threads(3)
    ours, theirs = (map_leaves(lambda leaf: leaf.detach().clone(), case.state) for _ in range(2))
    output = stepper(cell, ours, "fused")(case.inputs[0], case.starts[0])
    torch.testing.assert_close(
        output, stepper(cell, theirs, "eager")(case.inputs[0], case.starts[0])
    )


@pytest.mark.parametrize("core", CORES)
def test_without_gradient_no_trace_is_stored(core: str) -> None:
    """Otherwise acting needs as much memory as training."""
    case = Case(build_cell(core, 3, hidden_size=4), 9, 2, 0.0)

    def stored() -> int:
        with patch.object(cpu, "_run_forward", wraps=cpu._run_forward) as run:
            sequence(case.cell, case.inputs, case.state, backend="fused")
        return run.call_args.args[5]  # type: ignore[no-any-return]

    assert stored() > 0
    with torch.no_grad():
        assert stored() == 0
    state = NetState.of(case.state)
    net, inputs = PlasticNet.of(case.cell), NetInputs.of(case.cell, case.inputs, None)
    found = NumbaKernels().forward(net, inputs, state, segment_length=0)
    assert found.checkpoints[0].size == 0
    assert found.gates is None or found.gates.numel() == 0


def test_unsupported_cells_run_in_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a new rule or a subclass is computed as another one."""

    class Loud(PlasticRNN):
        """A cell that overrides ``step``."""

    monkeypatch.setitem(RULES, "anti", lambda trace, pre, post: -RULES["hebb"](trace, pre, post))
    cell = build_cell("plastic_rnn", 3, hidden_size=4)
    assert FUSED.supports(cell, torch.zeros(1, 1, 3))
    assert not FUSED.supports(Loud(3, PlasticRNNConfig(hidden_size=4)), torch.zeros(1, 1, 3))
    object.__setattr__(cell.connection.plasticity, "rule", "anti")  # type: ignore[union-attr]
    assert not FUSED.supports(cell, torch.zeros(1, 1, 3))


def test_tanh_in_single_precision() -> None:
    """Otherwise a coefficient of the approximation is wrong."""
    x = np.concatenate([np.linspace(-12, 12, 200_001), [np.inf, -np.inf, 1e-30, 0.0]])
    values = x.astype(np.float32)
    numba_update.tanh_(values)
    expected = np.tanh(x.astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(values, expected, rtol=3e-7, atol=0)
    nan = np.array([np.nan], np.float32)
    numba_update.tanh_(nan)
    assert np.isnan(nan).all()


def test_any_order_in_memory() -> None:
    """Otherwise the results for a transposed batch or state are wrong."""
    cell = build_cell("plastic_rnn", 4, hidden_size=4, input_mode="additive", alpha_scale=1.0)
    inputs, trace = torch.randn(3, 5, 4).transpose(0, 1), torch.randn(3, 4, 4).transpose(1, 2)
    state = cell.initial_state(3)._replace(trace=trace)
    outputs, final = sequence(cell, inputs, state, backend="fused")
    expected, expected_final = sequence(cell, inputs, state, backend="eager")
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(final.trace, expected_final.trace)


@pytest.mark.parametrize("core", CORES)
def test_what_is_not_finite_stays_visible(core: str) -> None:
    """Otherwise a diverged run continues with wrong numbers."""
    case = Case(build_cell(core, 3, hidden_size=4), 3, 2, 0.0)
    with torch.no_grad():
        case.inputs[1, 0, 0] = torch.nan
        outputs, _ = FUSED.run(case.cell, case.inputs, case.state, None)
    assert outputs[0].isfinite().all()
    assert outputs[1:, 0].isnan().all()
    assert outputs[:, 1].isfinite().all()


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("modulation", ["none", "retroactive"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_row_that_has_diverged_leaves_the_next_ones_gradient(
    core: str, modulation: str, value: float
) -> None:
    """Otherwise one diverged episode spoils the gradients of others, perhaps through padding."""
    cell = build_cell(core, 3, hidden_size=5, modulation=modulation)
    found = []
    for backend in ("eager", "fused"):
        torch.manual_seed(0)
        inputs = torch.randn(3, 3, 3, requires_grad=True)
        state = map_leaves(torch.randn_like, cell.initial_state(3))
        state.hidden[0] = value
        state = map_leaves(Tensor.requires_grad_, state)
        outputs, _ = sequence(cell, inputs, state, backend=backend)
        gradients = torch.autograd.grad(outputs.sum(), [inputs, *leaves(state)])
        found.append([gradients[0][:, 1:], *(gradient[1:] for gradient in gradients[1:])])
    for expected, gradient in zip(*found, strict=True):
        assert expected.isfinite().all()
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("name", ["identity", "plastic_readout"])
def test_fused_by_name_is_refused_for_unsupported_cells(name: str) -> None:
    """Otherwise ``backend="fused"`` silently runs another backend."""
    with pytest.raises(ValueError, match=r"fused.*auto"):
        sequence(build_cell(name, 8), torch.zeros(2, 3, 8), backend="fused")


def test_a_step_refuses_another_dtype(backend: str) -> None:
    """Otherwise the compiled step reads numbers of the wrong size."""
    cell = build_cell("plastic_rnn", 2, hidden_size=3)
    with pytest.raises(ValueError, match=r"float32.*float64"):
        stepper(cell, cell.initial_state(1), backend)(torch.zeros(1, 2).double())


def test_a_second_process_does_not_compile_again() -> None:
    """Otherwise every process takes ten seconds and adds another copy to the cache."""
    code = (
        "import torch\n"
        "from numba.core.event import install_recorder\n"
        "from plasticrl.core import build_cell, sequence, stepper\n"
        "from plasticrl.core.backends.numba_update import Kind\n"
        "from plasticrl.core.backends.numba_step import compiled_step\n"
        "from plasticrl.core.backends.numba_forward import compiled_forward\n"
        "from plasticrl.core.backends.numba_backward import compiled_backward\n"
        "cell = build_cell('plastic_rnn', 3, hidden_size=4)\n"
        "with install_recorder('numba:compile') as compiled:\n"
        "    sequence(cell, torch.ones(2, 4, 3), backend='fused')[0].sum().backward()\n"
        "    stepper(cell, cell.initial_state(1), 'fused')(torch.ones(1, 3))\n"
        "factories = (compiled_step, compiled_forward, compiled_backward)\n"
        "kernels = [factory(Kind(False, False, leaks=False)) for factory in factories]\n"
        "print([sum(k.stats.cache_hits.values()) for k in kernels], len(compiled.buffer))\n"
    )
    run = [sys.executable, "-c", code]
    for _ in range(2):  # other tests need these loops too, so that the first one often finds them
        done = subprocess.run(run, check=True, capture_output=True, text=True, timeout=300)
    assert done.stdout == "[1, 1, 1] 0\n"


def test_a_change_in_any_file_of_loops_is_another_fingerprint(tmp_path: Path) -> None:
    """Otherwise numba runs code that it compiled before the change."""
    for path in Path(numba_update.__file__).parent.glob("numba_*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    unchanged = Kind(False, False, leaks=False).fingerprint
    assert fingerprint(tmp_path.iterdir()) == unchanged
    for path in tmp_path.iterdir():
        text = path.read_text()
        path.write_text(text + "#")
        assert fingerprint(tmp_path.iterdir()) != unchanged
        path.write_text(text)


def test_another_fingerprint_is_compiled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the fingerprint is not a part of the key of numba's cache."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))

    def hits(number: int) -> int:
        @njit(cache=True)
        @versioned(number)
        def same(x: int) -> int:
            return x

        same(1)
        return sum(same.stats.cache_hits.values())

    assert [hits(number) for number in (1, 1, 2)] == [0, 1, 0]
    for factory in (compiled_step, compiled_forward, compiled_backward):
        kernels = [factory(Kind(False, False, False, fingerprint=number)) for number in (1, 2)]
        assert len({kernel.py_func.__qualname__ for kernel in kernels}) == 2


def test_it_runs_in_a_forked_process() -> None:
    """Otherwise a forked DataLoader or SubprocVecEnv waits forever for threads of its parent."""
    code = (
        "import os, torch\n"
        "from plasticrl.core import build_cell, sequence\n"
        "from plasticrl.core.backends import cpu\n"
        "cpu.GROUP_WORK = 1\n"
        "torch.set_num_threads(2)\n"
        "cell = build_cell('plastic_rnn', 3, hidden_size=4)\n"
        "run = lambda: sequence(cell, torch.ones(2, 4, 3), backend='fused')\n"
        "run()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    run()\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("n_steps", "n_rows", "at_once", "steps"),
    [
        (200, 30, 1, 20),  # sqrt(2 T): more would leave the cache
        (200, 1, 1, 14),  # sqrt(T): as many stored as recomputed
        (200, 6, 4, 17),  # sqrt(T B / P)
        (1, 30, 1, 1),
        (2, 30, 1, 2),  # never more than there are
    ],
)
def test_stored_traces_are_as_far_apart_as_memory_wants(
    n_steps: int, n_rows: int, at_once: int, steps: int
) -> None:
    """Otherwise stored and recomputed traces take more memory than necessary."""
    assert choose_segment_length(n_steps, n_rows, at_once) == steps


def test_the_record_of_an_actor_does_not_keep_the_graph() -> None:
    """Otherwise the traces of one rollout are still in memory during the next one."""
    cell = build_cell("plastic_rnn", 3, hidden_size=4)
    inputs, state = torch.randn(5, 2, 3), cell.initial_state(2)
    net_inputs, net = NetInputs.of(cell, inputs, None), PlasticNet.of(cell)
    record = NumbaKernels().forward(net, net_inputs, NetState.of(state), 3)
    outputs, _ = FUSED.apply(cell, inputs, state, None, record)
    assert outputs.grad_fn is not None
    assert record.outputs.grad_fn is None
    torch.testing.assert_close(outputs, record.outputs, rtol=0, atol=0)


@pytest.mark.parametrize("core", CORES)
def test_second_derivatives_are_refused(core: str) -> None:
    """Otherwise they lack the part of the loops, without an error."""
    cell, inputs = build_cell(core, 2, hidden_size=3), torch.ones(3, 1, 2, requires_grad=True)
    outputs, _ = sequence(cell, inputs)
    with pytest.raises(RuntimeError, match="second derivatives: use backend='eager'"):
        torch.autograd.grad(outputs.sum(), inputs, create_graph=True)


def test_a_state_whose_tensors_share_memory_is_refused() -> None:
    """Otherwise a step reads what it has just written."""
    cell = build_cell("plastic_lstm", 2, hidden_size=3)
    state = cell.initial_state(2)
    with pytest.raises(ValueError, match="share their memory"):
        stepper(cell, state._replace(cell=state.hidden), "fused")
