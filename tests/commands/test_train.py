"""The config that results from a preset and flags."""

from dataclasses import replace
from typing import Any

import pytest

from plasticrl.agents.options import CORES
from plasticrl.agents.training.config import (
    A2CConfig,
    A2CTrainConfig,
    CurriculumConfig,
    TrainConfig,
)
from plasticrl.agents.training.presets import PRESETS
from plasticrl.commands.train import parse_agent
from plasticrl.core import CELLS, build_cell, vary
from plasticrl.runs import UsageError, from_dict, to_dict

MAZE = PRESETS["maze-quickstart"]()

every_preset = pytest.mark.parametrize("preset", PRESETS)


def parse(preset: str, *flags: str) -> TrainConfig:
    return parse_agent(preset, PRESETS[preset](), flags).config


def dropped(preset: str, *flags: str) -> dict[str, Any]:
    return parse_agent(preset, PRESETS[preset](), flags).dropped


@every_preset
def test_a_preset_without_flags_is_the_preset(preset: str) -> None:
    """Otherwise the command line changes a preset by itself."""
    assert parse(preset) == PRESETS[preset]()


@every_preset
def test_a_preset_survives_json(preset: str) -> None:
    """Otherwise config.json cannot represent the run."""
    config = PRESETS[preset]()
    assert from_dict(TrainConfig, to_dict(config)) == config


@every_preset
@pytest.mark.parametrize("name", CORES)
def test_every_core_works_with_every_preset(preset: str, name: str) -> None:
    """Otherwise another core alone is rejected because of the preset's options."""
    core = parse(preset, "--core.name", name).core
    assert core.name == name
    build_cell(core, 5)


@every_preset
def test_retroactive_changes_the_modulation_alone(preset: str) -> None:
    """Otherwise retroactive modulation changes other settings, or is rejected."""
    config = parse(preset, "--core.modulation", "retroactive")
    core, _ = vary(PRESETS[preset]().core, {"modulation": "retroactive"})
    assert config == replace(PRESETS[preset](), core=core)
    build_cell(core, 5)


@pytest.mark.parametrize(
    ("flags", "left_out"),
    [
        ("--core.modulation none", {"core.fan_out": True}),
        ("--core.modulation retroactive", {}),
        ("--core.bound soft", {"core.clip": 2.0}),
        ("--core.bound=none", {"core.clip": 2.0}),
        ("--core.bound decay", {"core.clip": 2.0}),
        ("--core.rule oja", {}),
        ("--core.modulation none --core.bound soft", {"core.fan_out": True, "core.clip": 2.0}),
        (
            "--core.name plastic_lstm --core.modulation none",
            {"core.fan_out": True, "core.weight_scale": 0.001},
        ),
        (
            "--env-id CartPole-v1",
            {"env_kwargs.size": 9, "env_kwargs.episode_length": 200, "a2c.entropy": "simpson"},
        ),
    ],
)
def test_what_a_flag_makes_meaningless_is_left_out(flags: str, left_out: dict[str, Any]) -> None:
    """Otherwise the error is about an option that the user never gave."""
    assert dropped("maze-quickstart", *flags.split()) == left_out


@pytest.mark.parametrize(
    "flags", ["--env-id CartPole-v1", "--curriculum.option None", "--env-kwargs n_cues=2"]
)
def test_a_curriculum_is_dropped_with_all_its_settings(flags: str) -> None:
    """Otherwise CartPole gets a curriculum of cues, or ``n_cues=2`` is trained with 4 cues."""
    assert parse("cue-reward-tuned", *flags.split()).curriculum == CurriculumConfig()
    assert dropped("cue-reward-tuned", *flags.split())["curriculum.stages"] == (2, 3, 4)


@pytest.mark.parametrize(
    ("flags", "curriculum"),
    [
        ("--env-kwargs n_cues=4 cue_bits=9", {}),
        ("--env-kwargs n_cues=3 --curriculum.stages 2 3", {"stages": (2, 3)}),
        ("--curriculum.threshold 0.5", {"threshold": 0.5}),
        (
            "--curriculum.option cue_bits --curriculum.stages 5 9",
            {"option": "cue_bits", "stages": (5, 9)},
        ),
    ],
)
def test_a_curriculum_is_kept_or_changed(flags: str, curriculum: dict[str, Any]) -> None:
    """Otherwise the training starts at the last stage."""
    tuned = PRESETS["cue-reward-tuned"]().curriculum
    assert parse("cue-reward-tuned", *flags.split()).curriculum == replace(tuned, **curriculum)


def test_a_curriculum_that_ends_has_no_threshold() -> None:
    """Otherwise the agent would train with 2, 3 and 4 cues, and be measured with 5."""
    flags = ("--env-kwargs", "n_cues=5", "--curriculum.threshold", "0.5")
    with pytest.raises(UsageError, match=r"--curriculum.threshold has no meaning without a curr"):
        parse("cue-reward-tuned", *flags)


def test_an_entropy_that_was_asked_for_is_kept() -> None:
    """Otherwise the papers' entropy cannot be used in other environments with discrete actions."""
    flags = ("--env-id", "CartPole-v1", "--a2c.entropy", "simpson")
    assert parse("maze-quickstart", *flags).a2c.entropy == "simpson"
    assert "a2c.entropy" not in dropped("maze-quickstart", *flags)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            "--core.modulation none --core.fan-out",
            "--core.fan-out has no meaning with --core.modulation none: it needs a neuromodulator "
            "or gates; leave it out, or use --core.modulation simple or --core.modulation "
            "retroactive or --core.modulation gated",
        ),
        ("--core.bound soft --core.clip 3", "leave it out, or use --core.bound hard"),
        ("--core.bound soft --core.clip 1", "leave it out, or use --core.bound hard"),
        ("--core.eta-init .5", "or use --core.modulation none or --core.modulation retroactive"),
        ("--core.eta-init .1", "or use --core.modulation none or --core.modulation retroactive"),
        ("--core.rule oja --core.bound decay", "or use --core.rule hebb or --core.rule abcd"),
        ("--core.clip -1", "--core.clip must be a finite number above 0, not -1.0"),
        ("--a2c.gamma 2", "--a2c.gamma must be from 0 to 1, not 2.0"),
        (
            "--curriculum.option n_cues",
            "--curriculum.option and --curriculum.stages must be given together; for no "
            "curriculum, give --curriculum.option None alone",
        ),
        ("--a2c.learning-rate 1e38", "--a2c.learning-rate must be at most 1e+06, not 1e+38"),
        (
            "--curriculum.threshold 0.85",
            "--curriculum.threshold has no meaning without a curriculum: leave it out, or give "
            "--curriculum.option and --curriculum.stages",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_in_flags(flags: str, sentence: str) -> None:
    """Otherwise the message does not say which flags to write instead."""
    with pytest.raises(UsageError) as error:
        parse("maze-quickstart", *flags.split())
    assert str(error.value).endswith(sentence)


def test_another_core_keeps_the_size_and_drops_the_rest() -> None:
    """Otherwise an LSTM gets options of plastic_rnn."""
    core = parse("maze-quickstart", "--core.name", "lstm").core
    assert core == CELLS["lstm"].config(hidden_size=64)  # type: ignore[call-arg]


def test_another_core_keeps_the_options_that_both_have() -> None:
    """Otherwise two cores that are compared also differ in modulation and bounds."""
    core = parse("maze-quickstart", "--core.name=plastic_lstm", "--core.clip", "3").core
    shared = {"hidden_size": 64, "modulation": "simple", "fan_out": True, "alpha_scale": 0.001}
    assert core == CELLS["plastic_lstm"].config(**shared, clip=3.0)


def test_an_option_the_core_lacks_is_refused() -> None:
    """Otherwise ``--core.name lstm --core.modulation simple`` trains a plain LSTM."""
    with pytest.raises(UsageError, match=r"there is no flag --core\.modulation here"):
        parse("maze-quickstart", "--core.name", "lstm", "--core.modulation", "simple")


def test_env_kwargs_are_merged_with_the_presets() -> None:
    """Otherwise ``--env-kwargs size=9`` changes the length of the episodes."""
    config = parse("maze-quickstart", "--env-kwargs", "size=9", "random_start=true")
    assert config == replace(MAZE, env_kwargs={**MAZE.env_kwargs, "size": 9, "random_start": True})


def test_another_env_drops_the_presets_env_kwargs() -> None:
    """Otherwise CartPole gets the size of a maze."""
    config = parse("maze-quickstart", "--env-id", "CartPole-v1", "--env-kwargs", "a=1")
    a2c = replace(MAZE.a2c, entropy="shannon")
    assert config == replace(MAZE, env_id="CartPole-v1", env_kwargs={"a": 1}, a2c=a2c)


def test_options_of_the_environment_after_two_flags() -> None:
    """Otherwise the first ones would be ignored."""
    with pytest.raises(UsageError, match="--env-kwargs is given more than once"):
        parse("maze-quickstart", "--env-kwargs", "size=7", "--env-kwargs", "episode_length=9")
    with pytest.raises(UsageError, match="size is given twice"):
        parse("maze-quickstart", "--env-kwargs", "size=7", "size=9")


def test_a_flag_and_its_opposite() -> None:
    """Otherwise one of them would be ignored."""
    with pytest.raises(UsageError, match=r"--core.no-fan-out contradicts --core.fan-out"):
        parse("maze-quickstart", "--core.fan-out", "--core.no-fan-out")


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
    """Otherwise an environment gets the string "3"."""
    given = parse("maze-quickstart", "--env-kwargs", f"option={text}").env_kwargs["option"]
    assert given == value
    assert type(given) is type(value)


@pytest.mark.parametrize("token", ["nonsense", "=3", "size=[1]", 'size={"a": 1}'])
def test_malformed_env_kwargs(token: str) -> None:
    """Otherwise a typing mistake becomes an option with a strange name, or a list."""
    with pytest.raises(UsageError, match="--env-kwargs"):
        parse("maze-quickstart", "--env-kwargs", token)


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
def test_invalid_values(change: dict[str, Any]) -> None:
    """Otherwise the error comes from deep inside the program, or not at all."""
    (name, value), *_ = change.items()
    with pytest.raises(UsageError, match=rf"^{name} must be .* not {value!r}$"):
        A2CTrainConfig(**change)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5])
@pytest.mark.parametrize(
    "name",
    ["learning_rate", "adam_eps", "max_grad_norm", "ent_coef", "vf_coef", "gamma", "gae_lambda"],
)
def test_numbers_of_the_algorithm_are_finite_and_not_negative(name: str, value: float) -> None:
    """Otherwise a net with NaN weights is trained for hours."""
    with pytest.raises(UsageError, match=rf"{name} must be .* not {value}$"):
        to_dict(A2CConfig(**{name: value}))


@pytest.mark.parametrize("name", ["adam_eps", "max_grad_norm"])
def test_what_must_not_be_zero(name: str) -> None:
    """Otherwise a run learns nothing, or divides by zero."""
    with pytest.raises(UsageError, match=rf"^{name} must be .*above 0, not 0"):
        A2CConfig(**{name: 0})


def test_the_learning_rate_falls_in_the_last_part_and_never_below_zero() -> None:
    """Otherwise the learning rate of the last update can be negative."""
    from plasticrl.agents.training.building import _schedule

    schedule = _schedule(0.1, 0.5)
    assert callable(schedule)
    rates = [schedule(remaining) for remaining in (1.0, 0.5, 0.25, 0.0, -0.1)]
    assert rates == pytest.approx([0.1, 0.1, 0.05, 0.0, 0.0])
    assert _schedule(0.1, 0.0) == 0.1
