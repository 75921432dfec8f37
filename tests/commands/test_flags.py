"""Parsing flags into dataclasses, and the messages for wrong flags."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tyro

from plasticrl.commands.flags import flag_paths, given_values, nearest
from plasticrl.commands.parse import parse_flags
from plasticrl.runs import UsageError


@dataclass(frozen=True, kw_only=True)
class Inner:
    learning_rate: float = 0.1
    clip: float | None = None
    """The limit. By default there is none."""
    decays: bool = True
    """Whether it decays. False: it does not."""


@dataclass(frozen=True, kw_only=True)
class Other:
    other_clip: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Outer:
    run: tyro.conf.Positional[Path | None] = None
    preset: tyro.conf.Suppress[tyro.conf.Fixed[str]] = ""
    net: Inner = field(default_factory=Inner)
    n_envs: int = 3
    """Is unused without ``learning_rate``,
    and with decays=False."""
    history: bool = False
    names: tuple[str, ...] = ()
    """Words."""
    other: tyro.conf.OmitArgPrefixes[Other] = field(default_factory=Other)


def test_the_flags_are_those_of_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise a valid flag is rejected, or an invalid one is suggested."""
    with pytest.raises(SystemExit):
        parse_flags(Outer, ["--help"], prog="x")
    lines = [line.lstrip("│ ") for line in capsys.readouterr().out.splitlines()]
    heads = " ".join(line for line in lines if line.startswith("-"))
    told = re.findall(r"(?<=[ ,])--([a-z][\w.-]*\w)", f" {heads}")
    assert set(flag_paths(Outer)) == set(told) - {"help"}


def test_the_help_is_one_paragraph_that_names_flags(capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise it has the line breaks and the names of the source, or a default that says
    nothing."""
    with pytest.raises(SystemExit):
        parse_flags(Outer, ["--help"], Outer(n_envs=7), prog="x")
    lines = [line.strip("│ ") for line in capsys.readouterr().out.splitlines()]
    text = " ".join(" ".join(lines).split())
    assert "Is unused without --net.learning-rate, and with --net.no-decays. (default: 7)" in text
    assert "--net.no-decays: it does not." in text
    assert "--net.clip FLOAT" in text
    assert "The limit. By default there is none. --net.decays" in text
    assert "Words. (default: none)" in text
    assert parse_flags(Outer, [], Outer(n_envs=7), prog="x") == Outer(n_envs=7)


@pytest.mark.parametrize(
    "argv",
    [
        "--n-envs 4 run",
        "run --n_envs=4",
        "--net.learning_rate .5 --net.clip None --n-envs 4 run",
        "--no-history --net.no-decays --names a b --n-envs 4 -- run",
    ],
)
def test_valid_flags_are_accepted(argv: str) -> None:
    """Otherwise the check rejects valid flags."""
    asked = parse_flags(Outer, argv.split(), prog="x")
    assert (asked.run, asked.n_envs, asked.preset) == (Path("run"), 4, "")
    assert parse_flags(Outer, ["--names", "a"], Outer(n_envs=9), prog="x").n_envs == 9


def test_given_values_are_distinguished_from_defaults() -> None:
    """Otherwise a preset's value counts as given, or a flag with the same value does not."""
    argv = ["--n_envs=3", "--net.no-decays", "--other-clip", "2", "--", "--history"]
    asked = parse_flags(Outer, argv[:-2], prog="x")
    assert given_values(argv, asked) == {"n_envs": 3, "net.decays": False, "other.other_clip": 2.0}


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--n-envs", "x"], "--n-envs: 'x' is no whole number"),
        (["--n-envs"], "--n-envs"),
        (["a", "b"], "no flag takes the value 'b'"),
        (["a", "--history", "false"], "takes no value, not 'false'"),
    ],
)
def test_a_wrong_value_is_one_sentence(argv: list[str], sentence: str) -> None:
    """Otherwise the user has to find the mistake in a box of five lines."""
    with pytest.raises(UsageError) as refused:
        parse_flags(Outer, argv, prog="x")
    assert sentence in str(refused.value).lower()
    assert not set(str(refused.value)) & set("\n│╭╰")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("run --lerning-rate 1", "--lerning-rate here: did you mean --net.learning-rate?"),
        ("--n_env=4 run", "--n_env here: did you mean --n-envs?"),
        ("--nam a --n-env 4", "--nam here: did you mean --names?"),
        ("--no-n-envs run", "--no-n-envs here: did you mean --n-envs?"),
        ("run --run other", "--run here; "),
        ("run --zzz", "--zzz here; "),
    ],
)
def test_the_first_unknown_flag_is_named(argv: str, said: str) -> None:
    """Otherwise the user has to find the mistake in a box."""
    with pytest.raises(UsageError) as refused:
        parse_flags(Outer, argv.split(), prog="x")
    assert str(refused.value).startswith(f"there is no flag {said}")
    assert str(refused.value).endswith(" --help lists all flags")


def test_nearest_first_and_not_many() -> None:
    """Otherwise a less similar flag is suggested first."""
    flags = ["seed", "a2c.learning-rate-decay", "a2c.learning-rate", "n-envs", "core.weight-scale"]
    assert nearest("learning-rat", flags) == ["a2c.learning-rate", "a2c.learning-rate-decay"]
    assert len(nearest("x", [f"x{i}" for i in range(9)])) == 3
    assert nearest("device", flags) == []
    assert nearest("core.modulatoin", ["core.alpha-init", "core.modulation"]) == ["core.modulation"]
