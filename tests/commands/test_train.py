"""Flags to config: what a preset, and a flag on top of it, comes to."""

from dataclasses import fields, replace
from typing import Any

import pytest
from plasticrl.agents.command_line import parse_train

from plasticrl.agents.policies import CORES
from plasticrl.agents.training.config import A2CConfig, CoreConfig, TrainConfig
from plasticrl.agents.training.presets import PRESETS
from plasticrl.core import build_cell, cell_fields
from plasticrl.runs import UsageError, from_dict, to_dict

MAZE = PRESETS["maze-quickstart"]()

every_preset = pytest.mark.parametrize("preset", PRESETS)


def parse(*argv: str) -> TrainConfig:
    arguments = parse_train(argv)
    return TrainConfig(**{item.name: getattr(arguments, item.name) for item in fields(TrainConfig)})


def test_core_config_has_the_options_of_all_cores() -> None:
    """A new option of a core could not be given on the command line."""
    options = set().union(*(cell_fields(name) for name in CORES))
    assert {item.name for item in fields(CoreConfig)} == {"name"} | options


@every_preset
def test_a_preset_without_flags_is_the_preset(preset: str) -> None:
    """The command line would change a preset by itself."""
    assert parse(preset) == PRESETS[preset]()


@every_preset
def test_a_preset_survives_json(preset: str) -> None:
    """config.json could not hold the run."""
    config = PRESETS[preset]()
    assert from_dict(TrainConfig, to_dict(config)) == config


@every_preset
@pytest.mark.parametrize("name", CORES)
def test_every_core_works_with_every_preset(preset: str, name: str) -> None:
    """Changing the core alone would be refused for options that nobody gave."""
    core = parse(preset, "--core.name", name).core
    assert core.name == name
    build_cell(core.name, 5, **core.options())


@every_preset
def test_retroactive_changes_the_modulation_alone(preset: str) -> None:
    """The papers' other kind of modulation would come with other changes, or not at all."""
    config = parse(preset, "--core.modulation", "retroactive")
    core = replace(PRESETS[preset]().core, modulation="retroactive")
    assert config == replace(PRESETS[preset](), core=core)
    build_cell(core.name, 5, **core.options())


@pytest.mark.parametrize(
    "flags",
    [
        ("--core.modulation", "none", "--core.fan-out", "None"),
        ("--core.bound", "soft", "--core.clip", "None"),
    ],
)
def test_an_option_that_lost_its_meaning_can_be_unset(flags: tuple[str, ...]) -> None:
    """A preset's fan-out or clip would forbid unmodulated or softly bounded nets."""
    core = parse("maze-quickstart", *flags).core
    build_cell(core.name, 5, **core.options())


def test_another_core_keeps_the_size_and_drops_the_rest() -> None:
    """Options of plastic_rnn would be asked of an LSTM."""
    assert parse("maze-quickstart", "--core.name", "lstm").core == CoreConfig(
        name="lstm", hidden_size=MAZE.core.hidden_size
    )


def test_another_core_keeps_what_was_asked_for() -> None:
    """A flag would be ignored because the preset happens to have the same value."""
    flags = ("--core.name", "plastic_lstm", "--core.modulation", "simple", "--core.clip", "2.0")
    assert parse("maze-quickstart", *flags).core == CoreConfig(
        name="plastic_lstm", hidden_size=MAZE.core.hidden_size, modulation="simple", clip=2.0
    )


def test_an_option_the_core_lacks_is_kept_to_be_refused() -> None:
    """``--core.name lstm --core.modulation simple`` would train a plain LSTM."""
    core = parse("maze-quickstart", "--core.name", "lstm", "--core.modulation", "simple").core
    assert core.modulation == "simple"


def test_env_kwargs_are_merged_with_the_presets() -> None:
    """``--env-kwargs size=9`` would change the episodes' length."""
    config = parse("maze-quickstart", "--env-kwargs", "size=9", "random_start=true")
    assert config == replace(MAZE, env_kwargs={**MAZE.env_kwargs, "size": 9, "random_start": True})


def test_another_env_drops_the_presets_env_kwargs() -> None:
    """CartPole would be asked for a maze's size."""
    config = parse("maze-quickstart", "--env-id", "CartPole-v1", "--env-kwargs", "a=1")
    assert config == replace(MAZE, env_id="CartPole-v1", env_kwargs={"a": 1})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ("False", False),
        ("None", None),
        ("null", None),
        ("one_hot", "one_hot"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_env_kwargs_have_types(text: str, value: object) -> None:
    """An environment would get the string "3"."""
    given = parse("maze-quickstart", "--env-kwargs", f"option={text}").env_kwargs["option"]
    assert given == value
    assert type(given) is type(value)


@pytest.mark.parametrize("token", ["nonsense", "=3", "size=[1]", 'size={"a": 1}'])
def test_env_kwargs_that_are_none(token: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip would be an option with a strange name, or a list."""
    with pytest.raises(SystemExit, match="2"):
        parse("maze-quickstart", "--env-kwargs", token)
    assert "--env-kwargs" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [("--resume", "run"), ("--resume=run",)])
def test_resume_needs_no_preset(argv: tuple[str, ...]) -> None:
    """The command that Ctrl-C prints would not work."""
    assert str(parse_train(argv).resume) == "run"
    assert parse_train((*argv, "--total-timesteps", "70")).total_timesteps == 70


@pytest.mark.parametrize(
    "change",
    [
        {"n_envs": 0},
        {"total_timesteps": -1},
        {"threads": 0},
        {"checkpoint_every": 0},
        {"seed": -1},
        {"seed": 2**31},
        {"device": "foo"},
        {"device": "meta"},
        {"device": "cuda:"},
    ],
)
def test_values_that_cannot_be(change: dict[str, Any]) -> None:
    """The error would come from deep inside, or not at all."""
    (name, value), *_ = change.items()
    with pytest.raises(UsageError, match=rf"^{name} must be .* not {value!r}$"):
        TrainConfig(**change)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5])
@pytest.mark.parametrize(
    "name",
    ["learning_rate", "adam_eps", "max_grad_norm", "ent_coef", "vf_coef", "gamma", "gae_lambda"],
)
def test_numbers_of_the_algorithm_are_finite_and_not_negative(name: str, value: float) -> None:
    """NaN weights would be trained for hours."""
    with pytest.raises(UsageError, match=rf"^a2c\.{name} must be a finite number .* not {value}$"):
        TrainConfig(a2c=A2CConfig(**{name: value}))


@pytest.mark.parametrize("name", ["learning_rate", "adam_eps", "max_grad_norm"])
def test_what_must_not_be_zero(name: str) -> None:
    """A run would learn nothing, or divide by zero."""
    with pytest.raises(UsageError, match=rf"a2c\.{name} must be a finite number above 0, not 0"):
        TrainConfig(a2c=A2CConfig(**{name: 0}))


def test_the_learning_rate_falls_in_the_last_part_and_never_below_zero() -> None:
    """Otherwise the last update of a total that is no whole number of rollouts goes uphill."""
    from plasticrl.agents.training.building import _schedule

    schedule = _schedule(0.1, 0.5)
    assert callable(schedule)
    rates = [schedule(remaining) for remaining in (1.0, 0.5, 0.25, 0.0, -0.1)]
    assert rates == pytest.approx([0.1, 0.1, 0.05, 0.0, 0.0])
    assert _schedule(0.1, 0.0) == 0.1
