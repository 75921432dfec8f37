"""Signatures: reference agents have the values that are computed for them, and agents theirs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plasticrl.agents.training.building import build_model
from plasticrl.agents.training.config import A2CTrainConfig
from plasticrl.agents.training.environments import build_env
from plasticrl.agents.watching import gallery
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.signatures import SIGNATURES, TRAINED, signature
from plasticrl.commands import run_command, show
from plasticrl.core.cells.configs import GRUConfig, PlasticRNNConfig
from plasticrl.runs import RunDirectory, UsageError, to_dict
from plasticrl.viewer import ViewerError
from plasticrl.viewer.signature import Series, Signature, save_signature

N_EPISODES = 400


def untrained(env_id: str, core: Any = None, **options: Any) -> TrainedAgent:
    """An agent with random weights."""
    core = core or PlasticRNNConfig(hidden_size=4)
    config = A2CTrainConfig(env_id=env_id, env_kwargs=options, n_envs=1, core=core)
    run = RunDirectory(Path("nowhere"), "rl", "mine", to_dict(config), {}, {})
    return TrainedAgent(run, config, build_model(config, build_env(config, 1)).policy, 0)


def series_of(env_id: str, core: Any = None, **options: Any) -> dict[str, Series]:
    found = signature(untrained(env_id, core, **options), N_EPISODES, 7, deterministic=False)
    assert all(len(each.values) == len(found.places) for each in found.series)
    return {each.label: each for each in found.series}


def last(series: Series) -> Any:
    """The last value, within four standard errors; half an interval has 1.96 of them."""
    assert series.half_interval is not None
    return pytest.approx(series.values[-1], abs=4 / 1.96 * series.half_interval[-1])


def test_bandit_regret() -> None:
    """The means of the best of two arms, 2/3 of 100 pulls, less the computed expected rewards.

    Any agent without memory loses the mean difference of the best arm from 1/2, a sixth a pull.
    """
    found = series_of("plasticrl/Bandit-v0", GRUConfig(hidden_size=1))
    assert list(found) == [TRAINED, "Thompson sampling", "optimal"]
    assert last(found["optimal"]) == 66.667 - 64.918
    assert last(found["Thompson sampling"]) == 66.667 - 63.83
    assert np.all(np.diff(found[TRAINED].values) >= 0)
    assert found[TRAINED].values[-1] > 10


def test_bandit_with_correlated_arms_has_the_optimum_of_its_own() -> None:
    found = series_of("plasticrl/Bandit-v0", arms="correlated")
    assert list(found) == [TRAINED, "plasticity ablated", "optimal"]
    assert last(found["optimal"]) == 75 - 73.779


def test_two_step_stays() -> None:
    """The filter stays after common+reward and rare+none, and in two of three other trials."""
    found = series_of("plasticrl/TwoStep-v0")
    np.testing.assert_allclose(found["optimal"].values, [1, 0.671, 0.663, 1], atol=0.02)
    assert found[TRAINED].values == pytest.approx([0.5] * 4, abs=0.1)


def test_harlow_by_trial() -> None:
    """The ideal agent guesses in the first trial, and is always right afterward."""
    found = series_of("plasticrl/Harlow-v0")
    assert found["optimal"].values[1:].tolist() == [1.0] * 5
    assert found["optimal"].values[0] == pytest.approx(0.5, abs=0.1)


def test_transitive_inference_by_distance() -> None:
    """With one test trial of 8 items, the ideal observer gets .977 down to .852."""
    found = series_of("plasticrl/TransitiveInference-v0", min_items=8, n_test_trials=1)
    expected = np.array([0.977, 0.955, 0.933, 0.912, 0.891, 0.871, 0.852])
    n = N_EPISODES * np.arange(7, 0, -1) / 28  # trials by distance
    errors = np.sqrt(expected * (1 - expected) / n)
    assert np.all(np.abs(found["ideal observer"].values - expected) < 4 * errors)
    assert np.abs(np.nanmean(found[TRAINED].values) - 0.5) < 0.1


ODD: list[tuple[str, dict[str, Any]]] = [
    ("Bandit", {"n_arms": 5, "episode_length": 7}),
    ("Bandit", {"max_episode_steps": 30}),
    ("Bandit", {"arms": "pair", "pair_probability": 0.9}),
    ("TwoStep", {"episode_length": 5}),
    ("TwoStep", {"common_probability": 1.0}),
    ("Harlow", {"n_trials": 30}),
    ("Harlow", {"max_episode_steps": 3}),
    ("TransitiveInference", {"schedule": "linking", "n_test_trials": 1}),
    ("TransitiveInference", {"min_items": 2, "max_items": 3, "n_training_trials": 1}),
]


@pytest.mark.parametrize(("name", "options"), ODD, ids=str)
def test_odd_options_give_a_picture(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Otherwise they give a traceback, or warnings of means of nothing."""
    agent = untrained(f"plasticrl/{name}-v0", **options)
    drawn = signature(agent, 5, 0, deterministic=False)
    for series in drawn.series:
        assert len(series.values) == len(drawn.places)
    save_signature(drawn, tmp_path / "odd.png")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Bandit", {"episode_length": 1}, "a bandit that is pulled once"),
        ("TwoStep", {"episode_length": 3}, "with fewer than two trials"),
        ("TransitiveInference", {"max_episode_steps": 80}, "ends before its test trials"),
    ],
)
def test_an_episode_that_is_too_short(name: str, options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        signature(untrained(f"plasticrl/{name}-v0", **options), 2, 0, deterministic=False)


@pytest.mark.parametrize(("name", "value"), [("trials", 2), ("history", True)])
def test_an_environment_that_is_changed_has_none(name: str, value: Any) -> None:
    """Otherwise the picture is of other trials, or reads the observation's wrong places."""
    agent = untrained("plasticrl/Harlow-v0")
    agent = replace(agent, config=replace(agent.config, **{name: value}))
    with pytest.raises(UsageError, match=f"an environment that is changed by {name}"):
        signature(agent, 2, 0, deterministic=False)


def test_linking_counts_test_trials_only() -> None:
    """The last of 25 trials is the only one of two items that need not be neighbors."""
    found = series_of(
        "plasticrl/TransitiveInference-v0",
        schedule="linking",
        min_items=8,
        n_test_trials=1,
    )
    assert list(found) == [TRAINED, "plasticity ablated"]
    assert np.isfinite(found[TRAINED].values).sum() >= 6  # nearly all distances of one trial each


def test_other_environments_have_none() -> None:
    with pytest.raises(UsageError, match=r"no signature of plasticrl/GridMaze-v0, only of plast"):
        signature(TrainedAgent.load(gallery.folder("maze")), 2, 0, deterministic=False)


@pytest.mark.parametrize("kind", ["bars", "lines"])
@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_a_picture_is_written(kind: Any, name: str, tmp_path: Path) -> None:
    values = np.array([0.2, 0.5])
    drawn = Signature(
        "title", "x", "y", kind, (1.0, 2.0), [Series("a", values), Series("b", values, values)]
    )
    save_signature(drawn, tmp_path / name)
    assert (tmp_path / name).stat().st_size > 5000
    with pytest.raises(ViewerError, match="the name must end in"):
        save_signature(drawn, tmp_path / "a.gif")


@pytest.mark.slow
def test_the_command_draws_a_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(show, "SIGNATURE_EPISODES", 20)
    run, picture = tmp_path / "run", tmp_path / "two-step.png"
    flags = ["--env-id", "plasticrl/TwoStep-v0", "--core.name", "gru", "--core.hidden-size", "4"]
    flags += ["--total-timesteps", "60", "--n-envs", "2", "--a2c.n-steps", "10"]
    assert run_command("train", ["maze-quickstart", *flags, "--run-dir", str(run)]) == 0
    assert run_command("evaluate", [str(run), "--episodes", "2", "--signature", str(picture)]) == 0
    assert picture.stat().st_size > 5000
    assert f"wrote {picture}" in capsys.readouterr().err


def test_every_signature_is_tested() -> None:
    """Otherwise a new one is not compared with computed values."""
    tested = {"Bandit", "TwoStep", "Harlow", "TransitiveInference"}
    assert set(SIGNATURES) == {f"plasticrl/{name}-v0" for name in tested}
