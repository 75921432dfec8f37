"""The plastic connection: pooled by means and rounded to bytes, but measured before both."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.viewer.conftest import make_synapses

from plasticrl.viewer import Quantized, SynapseRecorder
from plasticrl.viewer.synapses import pool


def test_pooling_by_hand_with_blocks_cut_short_at_the_edge() -> None:
    matrix = np.array([[1, 3, 5], [5, 7, 9], [2, 4, 8]], dtype=np.float32)
    np.testing.assert_array_equal(pool(matrix, 2), [[4, 7], [3, 8]])
    np.testing.assert_array_equal(pool(matrix, 1), matrix)
    assert pool(matrix, 2).dtype == np.float32


def test_bytes_by_hand() -> None:
    """There are 127 levels on either side of 0, and the largest value is at the last one."""
    quantized = Quantized.of(np.array([[[-2.0, 0.0, 1.0, 2.0]]]))
    np.testing.assert_array_equal(quantized.levels, [[[-127, 0, 64, 127]]])
    assert quantized.scale == 2.0
    np.testing.assert_allclose(quantized.at(0), [[-2.0, 0.0, 128 / 127, 2.0]])


@pytest.mark.parametrize("largest", [0.0, 1e-45, 1e-30, 3e38])
def test_bytes_of_any_size(largest: float) -> None:
    """Otherwise an overflow would end the recording of a trace that nothing bounds."""
    values = np.array([[[largest, -largest / 2]]], dtype=np.float32)
    np.testing.assert_allclose(Quantized.of(values).at(0), values[0], rtol=0.01)


def test_a_small_connection_is_kept_entry_by_entry() -> None:
    trace = np.random.default_rng(0).normal(size=(3, 64, 20)).astype(np.float32)
    synapses = make_synapses(trace)
    assert (synapses.block, synapses.pooling) == (1, "")
    for step in range(3):
        np.testing.assert_allclose(
            synapses.trace.at(step), trace[step], atol=synapses.trace.scale / 253
        )
        np.testing.assert_allclose(
            synapses.change.at(step),
            synapses.alpha * trace[step],
            atol=synapses.change.scale / 253,
        )


def test_what_is_pooled_is_the_change_and_not_its_factors() -> None:
    """Otherwise the change, which is 1 everywhere, is 0, like the means of alpha and trace."""
    sign = np.where(np.indices((128, 128)).sum(axis=0) % 2, 1.0, -1.0)
    recorder = SynapseRecorder(np.zeros((128, 128)), sign, bound=None, eta=None)
    recorder.add(sign)
    synapses = recorder.synapses()
    assert (synapses.block, synapses.pooling, synapses.shape) == (2, "pooled 2 x 2", (128, 128))
    np.testing.assert_array_equal(synapses.trace.at(0), np.zeros((64, 64)))
    np.testing.assert_array_equal(synapses.change.at(0), np.ones((64, 64)))


def test_the_statistics_are_of_the_whole_trace() -> None:
    """Otherwise they are 0, as the pooled trace is here."""
    trace = np.zeros((128, 128))
    trace[:, ::2], trace[:, 1::2] = 1.0, -1.0
    trace[0] = 0.5
    synapses = make_synapses(np.stack([trace, 0 * trace]))
    np.testing.assert_allclose(synapses.trace_abs_mean, [127.5 / 128, 0])
    np.testing.assert_allclose(synapses.trace_saturation, [127 / 128, 0])  # type: ignore[arg-type]
    assert make_synapses(np.stack([trace]), bound=None).trace_saturation is None


@pytest.mark.parametrize("shape", [(1, 1), (130, 5), (64, 65), (300, 200)])
def test_alpha_of_one_number_or_one_per_neuron_is_spread(shape: tuple[int, int]) -> None:
    post, _ = shape
    for alpha in (np.full((1, 1), 0.5), np.full((post, 1), 0.5)):
        recorder = SynapseRecorder(np.ones(shape), alpha, bound=1.0, eta=None)
        recorder.add(np.ones(shape))
        synapses = recorder.synapses()
        assert max(synapses.weight.shape) <= 64
        np.testing.assert_array_equal(synapses.alpha, np.full(synapses.weight.shape, 0.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block": 0}, r"\(4, 4\) in blocks of 0 must be matrices of at most 64 x 64"),
        ({"block": 2}, r"trace levels must be int8 \(2, 2, 2\), not int8 \(2, 4, 4\)"),
        ({"shape": (65, 4)}, "at most 64 x 64"),
        ({"weight": np.zeros((4, 4))}, r"weight must be float32 \(4, 4\), not float64"),
        ({"alpha": np.full((4, 4), np.nan, np.float32)}, "alpha must hold finite numbers"),
        ({"trace_abs_mean": np.zeros(3)}, r"trace_abs_mean must be float64 \(2,\)"),
        ({"trace_saturation": np.zeros(3)}, "trace_saturation must be float64"),
        ({"eta": float("inf")}, "eta must be a finite number, not inf"),
        ({"change": Quantized(np.full((2, 4, 4), -128, np.int8), 1.0)}, "from -127 to 127"),
        ({"trace": Quantized(np.zeros((2, 4, 4), np.int8), 0.0)}, "trace scale must be a size"),
        ({"trace": Quantized(np.zeros((2, 4, 4), np.int8), 1e39)}, "trace scale must be a size"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(make_synapses(np.ones((2, 4, 4))), **change)
