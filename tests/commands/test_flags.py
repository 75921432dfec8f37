"""Flags to dataclasses, and what is said of one that is none."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tyro
from plasticrl.runs.flags import flag_names, nearest

from plasticrl.runs import Elsewhere, UsageError, check_preset, parse_flags, parse_preset


@dataclass(frozen=True, kw_only=True)
class Inner:
    learning_rate: float = 0.1
    clip: float | None = None
    decays: bool = True


@dataclass(frozen=True, kw_only=True)
class Outer:
    run: tyro.conf.Positional[Path | None] = None
    preset: tyro.conf.Suppress[tyro.conf.Fixed[str]] = ""
    net: Inner = field(default_factory=Inner)
    n_envs: int = 3
    history: bool = False
    names: tuple[str, ...] = ()


PRESETS = {"small": ("", Outer()), "large": ("", Outer(n_envs=9))}


def test_the_flags_are_those_of_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """A flag that there is would be refused, or one that there is not be offered."""
    with pytest.raises(SystemExit):
        parse_flags(Outer, ["--help"])
    told = re.findall(r"--([a-z]\S+?),? ", capsys.readouterr().out)
    assert set(flag_names(Outer)) == set(told) - {"help"}


@pytest.mark.parametrize(
    "argv",
    [
        "--n-envs 4 run",
        "run --n_envs=4",
        "--net.learning_rate .5 --net.clip None --n-envs 4 run",
        "--no-history --net.no-decays --names a b --n-envs 4 -- run",
    ],
)
def test_what_is_right_is_let_through(argv: str) -> None:
    """The check would be in the way."""
    asked = parse_flags(Outer, argv.split())
    assert (asked.run, asked.n_envs, asked.preset) == (Path("run"), 4, "")
    assert parse_preset(PRESETS, ["large", "--names", "a"], "").n_envs == 9


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
def test_the_first_flag_that_is_none_is_told(argv: str, said: str) -> None:
    """The user would search a box for what was meant."""
    for parse in (
        lambda words: parse_flags(Outer, words),
        lambda words: parse_preset(PRESETS, ["small", *words], ""),
    ):
        with pytest.raises(UsageError) as refused:
            parse(argv.split())
        assert str(refused.value).startswith(f"there is no flag {said}")
        assert str(refused.value).endswith(" --help in its place lists all flags")


def test_nearest_first_and_not_many() -> None:
    """A far one would be named first."""
    flags = ["seed", "a2c.learning-rate-decay", "a2c.learning-rate", "n-envs", "core.weight-scale"]
    assert nearest("learning-rat", flags) == ["a2c.learning-rate", "a2c.learning-rate-decay"]
    assert len(nearest("x", [f"x{i}" for i in range(9)])) == 3
    assert nearest("device", flags) == []


OTHERS = Elsewhere("supervised", "other.py", ["patterns-quickstart"])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["patterns-quickstart"], r"'patterns-quickstart' is a supervised preset: \S+ other\.py p"),
        (["patern-quickstart"], r"no preset 'patern-quickstart': did you mean \S+ other\.py patt"),
        (["maze-quikstart"], r"no preset 'maze-quikstart': did you mean maze-quickstart\?"),
        (["chess"], r"no preset 'chess': there are maze-quickstart, maze-paper"),
        ([], r"name a preset first, as in: \S+ this\.py maze-quickstart\npresets: maze-q"),
        (["--seed", "3"], "name a preset first"),
    ],
)
def test_a_first_word_that_is_no_preset(argv: Sequence[str], said: str) -> None:
    """The user would not learn how to start, or be sent to a preset of another kind."""
    with pytest.raises(UsageError, match=said):
        check_preset(argv, ["maze-quickstart", "maze-paper"], "this.py", OTHERS)


@pytest.mark.parametrize("word", ["maze-paper", "-h", "--help", "--tyro-print-completion"])
def test_a_first_word_that_will_do(word: str) -> None:
    """Help would be refused."""
    check_preset([word], ["maze-quickstart", "maze-paper"], "this.py", OTHERS)
