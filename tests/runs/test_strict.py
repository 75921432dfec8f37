"""Valid dataclasses survive the round trip, and an invalid field is named by its dotted path."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from plasticrl.runs import RunError, from_dict, to_dict


@dataclass(frozen=True)
class Core:
    hidden_size: int = 100
    clip: float = 1.0
    rule: Literal["hebb", "oja", 2] = "hebb"

    def __post_init__(self) -> None:
        if self.hidden_size < 1:
            raise ValueError("hidden_size must be at least 1")


@dataclass(frozen=True)
class Config:
    core: Core = field(default_factory=Core)
    name: str = "maze"
    fan_out: bool = False
    seed: int | None = None
    limit: int | float | str = 3
    cues: tuple[int, ...] = (2, 3)
    stages: tuple[Core, ...] = ()
    env: dict[str, int | float | bool | str | None] = field(default_factory=dict)
    extra: Core | None = None
    nothing: None = None


FULL = Config(
    core=Core(7, 2.5, "oja"),
    seed=3,
    limit=0.5,
    cues=(),
    stages=(Core(1), Core(2)),
    env={"size": 9, "p": 0.1, "flag": True, "mode": "x", "none": None},
    extra=Core(4),
)


@pytest.mark.parametrize("config", [Config(), FULL])
def test_through_json_and_back(config: Config) -> None:
    text = json.dumps(to_dict(config), allow_nan=False)
    again = from_dict(Config, json.loads(text))
    assert again == config
    assert repr(again) == repr(config)  # tells 1 from 1.0 and True


def test_an_integer_is_a_float_where_a_float_is_wanted() -> None:
    decoded = from_dict(Core, {"hidden_size": 5, "clip": 2, "rule": 2})
    assert repr(decoded) == "Core(hidden_size=5, clip=2.0, rule=2)"


def with_change(path: str, value: Any) -> dict[str, Any]:
    data = to_dict(FULL)
    *folders, name = path.split(".")
    target = data
    for folder in folders:
        target = target[folder]
    target[name] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("core.hidden_size", "abc", r"config\.core\.hidden_size must be an integer, not 'abc'"),
        ("core.hidden_size", True, r"config\.core\.hidden_size must be an integer, not True"),
        ("core.hidden_size", 1.0, r"config\.core\.hidden_size must be an integer, not 1\.0"),
        ("core.clip", False, r"config\.core\.clip must be a finite number, not False"),
        ("core.clip", float("nan"), r"config\.core\.clip must be a finite number, not nan"),
        ("core.clip", float("inf"), r"config\.core\.clip must be a finite number, not inf"),
        ("core.clip", 10**400, r"config\.core\.clip must be a finite number"),
        ("core.rule", "other", r"config\.core\.rule must be one of 'hebb', 'oja', 2, not 'other'"),
        ("core.rule", 2.0, r"config\.core\.rule must be one of"),
        ("core", None, r"config\.core must be an object, not None"),
        ("core.hidden_size", 0, r"config\.core: hidden_size must be at least 1"),
        ("core.typo", 1, r"config\.core\.typo is unknown; known are hidden_size, clip, rule"),
        ("name", 3, r"config\.name must be a string, not 3"),
        ("fan_out", 1, r"config\.fan_out must be true or false, not 1"),
        ("seed", "x", r"config\.seed must be an integer or null, not 'x'"),
        ("limit", None, r"config\.limit must be an integer or a finite number or a string"),
        ("cues", 3, r"config\.cues must be a list, not 3"),
        ("cues", [1, "b"], r"config\.cues\[1\] must be an integer, not 'b'"),
        ("stages", [{}], r"config\.stages\[0\]\.hidden_size is missing"),
        ("env", {"size": []}, r"config\.env\.size must be an integer or .*, not \[\]"),
        ("env", {3: 1}, r"config\.env must be an object, not \{3: 1\}"),
        ("extra", {"hidden_size": 1}, r"config\.extra\.clip is missing"),
        ("nothing", 0, r"config\.nothing must be null, not 0"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(RunError, match=message):
        from_dict(Config, with_change(path, value))


def test_defaults_do_not_stand_in_for_missing_keys() -> None:
    data = to_dict(Config())
    del data["name"]
    with pytest.raises(RunError, match=r"^preset\.name is missing$"):
        from_dict(Config, data, where="preset")


@dataclass(frozen=True)
class Grown:
    size: int = 3
    layers: int = field(default=2, metadata={"if_missing": 1})


def test_a_run_from_before_a_field_was_added() -> None:
    """Otherwise a new option makes all older runs unreadable."""
    assert from_dict(Grown, {"size": 4}) == Grown(4, 1)  # what it did, not today's default
    assert to_dict(Grown(4)) == {"size": 4, "layers": 2}
    with pytest.raises(RunError, match=r"config\.size is missing"):
        from_dict(Grown, {"layers": 2})
    with pytest.raises(RunError, match=r"config\.layers must be an integer, not None"):
        from_dict(Grown, {"size": 4, "layers": None})


def test_only_an_object_is_a_config() -> None:
    with pytest.raises(RunError, match="config must be an object, not 3"):
        from_dict(Config, 3)


def test_what_could_not_be_read_again_is_not_written() -> None:
    with pytest.raises(RunError, match=r"config\.clip must be a finite number, not nan"):
        to_dict(Core(clip=float("nan")))


@dataclass(frozen=True)
class Unsupported:
    values: list[int]


def test_unsupported_field_types_are_the_programmers_error() -> None:
    with pytest.raises(TypeError, match="cannot have a field of type"):
        from_dict(Unsupported, {"values": [1]})
