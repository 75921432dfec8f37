"""Episodes: every field is checked by name."""

from typing import Any

import numpy as np
import pytest
from tests.viewer.conftest import make_scene, make_synapses

from plasticrl.viewer import EpisodeTrace

OPTIONAL = ("frames", "texts", "values", "modulation", "synapses", "scene")


def test_optional_fields_may_be_absent(fields: dict[str, Any]) -> None:
    """Otherwise an LSTM on an environment without pictures could not be shown."""
    needed = {k: v for k, v in fields.items() if k not in (*OPTIONAL, "terminated")}
    episode = EpisodeTrace(**needed)
    assert episode.n_steps == 12
    assert all(getattr(episode, name) is None for name in OPTIONAL)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "title",
            "two\nlines",
            r"title must be one line of printable .* characters, not 'two\\nlines'",
        ),
        ("title", "\x1b[2J", "title must be one line"),
        ("preset", "\x07", "preset must be one line"),
        ("env_id", None, "env_id must be one line"),
        ("rewards", np.zeros(0), r"rewards must be \(T,\) with T >= 1, not \(0,\)"),
        ("rewards", np.zeros((12, 1)), r"rewards must be \(T,\)"),
        ("rewards", np.full(12, np.nan), "rewards must hold finite numbers"),
        ("rewards", np.full(12, -1e100), "rewards must hold finite numbers, below 1e"),
        ("title", "t" * 501, "title must be one line"),
        ("rewards", np.zeros(12, bool), "rewards must hold finite numbers"),
        ("actions", np.zeros(11), r"actions must be \(12, \.\.\.\) as rewards are, not \(11,\)"),
        ("actions", np.array(1), "actions must be"),
        ("texts", ("a",), "the texts must have 12 steps, not 1"),
        ("texts", ("\x07",) * 12, "texts must be printable"),
        ("frames", np.zeros((12, 9, 9, 3)), r"frames must be uint8 .*, not float64"),
        ("frames", np.zeros((12, 9, 9), np.uint8), "frames must be uint8"),
        ("frames", np.zeros((13, 9, 9, 3), np.uint8), r"frames must be uint8 \(12, height"),
        ("frames", np.zeros((12, 0, 9, 3), np.uint8), "frames must be uint8"),
        ("values", np.zeros(13), r"values must be \(12,\), not \(13,\)"),
        ("modulation", np.zeros((12, 4)), r"modulation must be \(12,\), not \(12, 4\)"),
        ("modulation", np.array(["a"] * 12), "modulation must hold finite numbers"),
        ("synapses", make_synapses(np.zeros((3, 4, 4))), "the trace must have 12 steps, not 3"),
        (
            "scene",
            make_scene(np.zeros((3, 3), bool), (0, 0), np.ones((3, 2), int)),
            "the scene must have 12 steps, not 3",
        ),
    ],
)
def test_a_wrong_field_is_named(
    fields: dict[str, Any], name: str, value: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        EpisodeTrace(**{**fields, name: value})


@pytest.mark.parametrize(
    ("actions", "names", "shown"),
    [
        (np.array([0, 1, 2, -1]), ("left", "right"), ["left", "right", "2", "-1"]),
        (np.array([0, 1, 2, 3]), None, ["0", "1", "2", "3"]),
        (np.zeros((4, 2)), ("left", "right"), [""] * 4),
    ],
)
def test_names_of_actions(actions: np.ndarray, names: Any, shown: list[str]) -> None:
    """Otherwise a file with an action that has no name could not be shown."""
    scene = make_scene(np.zeros((2, 2), bool), (0, 0), np.ones((4, 2), int), actions=names or ())
    episode = EpisodeTrace(
        title="t",
        env_id="e",
        preset="p",
        seed=0,
        ablated=False,
        actions=actions,
        rewards=np.zeros(4),
        scene=None if names is None else scene,
    )
    assert [episode.action_name(step) for step in range(4)] == shown
