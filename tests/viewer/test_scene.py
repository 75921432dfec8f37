"""Scenes: every field is checked by name, and the vocabulary is that of the environments."""

from typing import Any

import numpy as np
import pytest
from tests.viewer.conftest import SYMBOLS, make_scene

import plasticrl.envs.drawing
import plasticrl.envs.scene
from plasticrl.envs import Symbol as EnvSymbol
from plasticrl.viewer import Scene, Symbol, panels, scene, scenery, theme

FIELDS: dict[str, Any] = {
    "symbols": SYMBOLS,
    "grid": np.zeros((3, 4, 5), np.uint8),
    "captions": ("",) * 3,
}


def symbol(**changes: Any) -> tuple[Symbol, ...]:
    return (*SYMBOLS, Symbol("more", "x", "disc", "goal", False)._replace(**changes))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("grid", np.zeros((3, 4), np.uint8), "grid must be uint8"),
        ("grid", np.zeros((3, 4, 5)), "grid must be uint8"),
        ("grid", np.zeros((3, 0, 5), np.uint8), "grid must be uint8"),
        ("grid", np.zeros((3, 4, 201), np.uint8), "grid must have sides of at most 200"),
        ("grid", np.full((3, 4, 5), 4, np.uint8), "grid has 4, but there are 4 symbols"),
        ("captions", ("",) * 2, "captions must be 3, not 2"),
        ("captions", ("", "", "\x1b[2J"), "captions must be one line of printable text"),
        (
            "captions",
            ("", "", "c" * 201),
            "captions must be one line of printable text of at most 200",
        ),
        ("actions", ("\n",), "actions must be one line of printable text"),
        ("actions", (3,), "actions must be one line of printable text"),
        ("trail", "ghost", "trail must be empty or the name of a symbol"),
        ("goal", "ghost", "goal must be empty or the name of a symbol"),
        ("symbols", (), "grid has 0, but there are 0 symbols"),
        ("symbols", symbol(name=""), "every symbol must have a name of its own"),
        ("symbols", symbol(name="wall"), "every symbol must have a name of its own"),
        ("symbols", symbol(name="\x07"), "symbol must be one line of printable text"),
        ("symbols", symbol(text=""), "text of a symbol must be one character"),
        (
            "symbols",
            symbol(text="xx"),
            "text of a symbol must be one line of printable text of at most 1",
        ),
        ("symbols", symbol(text="\u4f60"), "text of a symbol must be one character"),  # two wide
        ("symbols", symbol(shape="star"), "symbol 'more' must have one of the shapes"),
        ("symbols", symbol(color="red"), "symbol 'more' must have one of the shapes"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any, message: str) -> None:
    """Otherwise a broken file gives an index error in the middle of a film."""
    Scene(**FIELDS)
    with pytest.raises(ValueError, match=message):
        Scene(**{**FIELDS, field: value})


def test_environments_and_renderers_have_the_same_words() -> None:
    """Otherwise a word that one list has and the other lacks could not be drawn."""
    assert plasticrl.envs.scene.COLORS == scene.COLORS
    assert plasticrl.envs.scene.SHAPES == scene.SHAPES
    assert EnvSymbol._fields == Symbol._fields
    assert set(theme.COLORS) == set(plasticrl.envs.drawing.COLORS) == set(scene.COLORS)
    assert set(scenery._STAMPS) == {*scene.SHAPES, "dot"}
    assert set(panels._CORNERS) == set(plasticrl.envs.drawing.TURNS)


def test_a_trail_that_is_not_always_there() -> None:
    """Otherwise an agent that dies, or is hidden by another symbol, would break the path."""
    agent = np.array([[1, 1], [1, 2], [1, 3]])
    one = make_scene(np.zeros((3, 5), bool), (0, 0), agent)
    one.grid[1] = 0
    assert one.places.tolist() == [6, -1, 8]
    assert one.path_to(2, np.zeros(3)).tolist() == [[1, 1], [1, 3]]
    assert one.path_to(1, np.array([1.0, 0.0, 0.0])).tolist() == []
    without = make_scene(np.zeros((3, 5), bool), (0, 0), agent, trail="")
    assert without.places.tolist() == [-1, -1, -1]
