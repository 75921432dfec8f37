"""Episodes: every field is checked by name; pooling is a mean."""

from typing import Any

import numpy as np
import pytest

from plasticrl.viewer import EpisodeTrace


def test_optional_fields_may_be_absent(fields: dict[str, Any]) -> None:
    absent = dict.fromkeys(("frames", "texts", "values", "modulation", "trace"))
    episode = EpisodeTrace(**{**fields, **absent})
    assert episode.n_steps == 12
    assert episode.pooled_trace() is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rewards", np.zeros(0), r"rewards must be \(T,\) with T >= 1, not \(0,\)"),
        ("rewards", np.zeros((12, 1)), r"rewards must be \(T,\)"),
        ("rewards", np.full(12, np.nan), "rewards must hold finite numbers"),
        ("actions", np.zeros(11), r"actions must be \(12, \.\.\.\) as rewards are, not \(11,\)"),
        ("actions", np.array(1), "actions must be"),
        ("texts", ("a",), "texts must be 12, not 1"),
        ("frames", np.zeros((12, 9, 9, 3)), r"frames must be uint8 .*, not float64"),
        ("frames", np.zeros((12, 9, 9), np.uint8), "frames must be uint8"),
        ("frames", np.zeros((13, 9, 9, 3), np.uint8), r"frames must be uint8 \(12, height"),
        ("frames", np.zeros((12, 0, 9, 3), np.uint8), "frames must be uint8"),
        ("values", np.zeros(13), r"values must be \(12,\), not \(13,\)"),
        ("modulation", np.zeros((12, 4)), r"modulation must be \(12,\), not \(12, 4\)"),
        ("modulation", np.array(["a"] * 12), "modulation must hold finite numbers"),
        ("trace", np.zeros((12, 4)), r"trace must be \(12, out, in\), not \(12, 4\)"),
        ("trace", np.full((12, 2, 2), np.inf), "trace must hold finite numbers"),
    ],
)
def test_a_wrong_field_is_named(
    fields: dict[str, Any], name: str, value: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        EpisodeTrace(**{**fields, name: value})


def test_a_small_trace_is_not_pooled(episode: EpisodeTrace) -> None:
    assert episode.pooled_trace(20) is episode.trace


def test_pooling_by_hand_with_blocks_cut_short_at_the_edge(fields: dict[str, Any]) -> None:
    matrix = np.array([[1, 3, 5], [5, 7, 9], [2, 4, 8]], dtype=np.float32)
    episode = EpisodeTrace(**{**fields, "trace": np.stack([matrix] * 12)})
    pooled = episode.pooled_trace(2)
    assert pooled is not None
    assert pooled.dtype == np.float32
    np.testing.assert_array_equal(pooled[5], [[4, 7], [3, 8]])


def test_pooling_keeps_within_the_limit(fields: dict[str, Any]) -> None:
    episode = EpisodeTrace(**{**fields, "trace": np.ones((12, 130, 5), np.float32)})
    pooled = episode.pooled_trace(64)
    assert pooled is not None
    assert pooled.shape == (12, 44, 2)
    np.testing.assert_array_equal(pooled, 1)
