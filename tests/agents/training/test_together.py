"""Runs of several seeds that are trained together equal runs that are trained one by one."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from tests.agents.training.test_resume import CUES, MAZE, resume, rows, train

from plasticrl.agents.population import PopulationA2C
from plasticrl.agents.training import run
from plasticrl.agents.training.logger import make_logger
from plasticrl.agents.training.presets import PRESETS
from plasticrl.agents.training.together import why_not_together
from plasticrl.commands import run_command
from plasticrl.commands.train import parse_agent
from plasticrl.core import build_cell
from plasticrl.core.backends.fused import FusedBackend
from plasticrl.core.cells.configs import PlasticRNNConfig
from plasticrl.envs import ENV_IDS
from plasticrl.runs import RunDirectory, RunError, latest_checkpoint, load_checkpoint, session

TMAZE = ["maze-quickstart", *MAZE[1:5], "--env-id=plasticrl/TMaze-v0"]
LIBRARY = ["--a2c.normalize-returns", "--a2c.normalize-advantage", "--a2c.core-lr-scale=0.3"]
RUNS = {
    "maze": MAZE,
    "layers": [*MAZE, "--a2c.net-arch=6", "--a2c.learning-rate-decay=1", *LIBRARY],
    "retroactive": [*MAZE, "--core.modulation=retroactive", "--a2c.bptt-length=4"],
    "unmodulated": [*TMAZE, "--core.modulation=none", "--a2c.entropy=shannon"],
    "cue-reward": [*CUES, "--core.bound=soft"],
}


class Pressed(session.StopSignals):
    """Ctrl-C was pressed at the start."""

    def __enter__(self) -> "Pressed":
        self.received = True
        return self


def train_together(path: Path, flags: list[str], total: int, *seeds: str) -> int:
    more = ["--total-timesteps", str(total), "--run-dir", str(path), "--seeds", *seeds]
    return run_command("train", [*flags, *more])


def assert_close(one: Any, other: Any, name: str = "") -> None:
    """Equal but for rounding."""
    assert type(one) is type(other), name
    if isinstance(one, dict):
        assert one.keys() == other.keys(), name
        for key in one.keys() - {"elapsed"}:
            assert_close(one[key], other[key], f"{name}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), name
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_close(*pair, f"{name}[{number}]")
    elif isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5, msg=name)
    else:
        assert one == (pytest.approx(other, 1e-4, 1e-5) if isinstance(one, float) else other), name


def assert_same_run(run: Path, own: Path) -> None:
    ours, theirs = (latest_checkpoint(path / "checkpoints") for path in (run, own))
    assert ours.name == theirs.name
    assert_close(load_checkpoint(ours), load_checkpoint(theirs))
    assert_close(rows(run), rows(own))


@pytest.mark.parametrize("flags", RUNS.values(), ids=RUNS)
def test_each_run_equals_one_of_its_own(flags: list[str], tmp_path: Path) -> None:
    """Otherwise seeds that are trained together are not independent."""
    assert train_together(tmp_path, flags, 150, "0", "3..4") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"seed0", "seed3", "seed4"}
    for seed in (0, 4):
        own = train(tmp_path / f"own{seed}", [*flags, f"--seed={seed}"], total=150)
        assert_same_run(tmp_path / f"seed{seed}", own)


def test_a_run_goes_on_by_itself(tmp_path: Path) -> None:
    """Otherwise the training cannot be continued, or only that of all seeds."""
    flags = [*MAZE, "--a2c.learning-rate-decay=0"]  # a decay depends on the total
    assert train_together(tmp_path, flags, 90, "0..1") == 0
    resume(tmp_path / "seed1", total=180)
    assert_same_run(tmp_path / "seed1", train(tmp_path / "own", [*flags, "--seed=1"], total=180))


def test_ctrl_c_saves_every_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise what has been trained is lost, or the user does not know how to go on."""
    monkeypatch.setattr(session, "StopSignals", Pressed)
    assert train_together(tmp_path, MAZE, 90, "0..1") == 130
    printed = capsys.readouterr().err
    monkeypatch.undo()
    for seed in (0, 1):  # a checkpoint before the first update
        assert f"--resume {tmp_path / f'seed{seed}'}" in printed
        resume(tmp_path / f"seed{seed}")
        own = train(tmp_path / f"own{seed}", [*MAZE, f"--seed={seed}"], total=90)
        assert_same_run(tmp_path / f"seed{seed}", own)


def test_a_divergence_names_the_runs_to_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise one seed ends the training of all, without a word on how to go on."""
    clip: Callable[..., Any] = PopulationA2C._clip_gradient

    def diverge(model: PopulationA2C) -> Any:
        if model._n_updates == 3:
            model.policy.value_net.bias.grad[1] = torch.nan
        return clip(model)

    monkeypatch.setattr(PopulationA2C, "_clip_gradient", diverge)
    assert train_together(tmp_path, MAZE, 300, "0..1") == 1
    printed = capsys.readouterr().err
    assert "seed 1: the gradient" in printed
    assert f"--resume {tmp_path / 'seed0'}" in printed


def test_a_reward_that_is_not_finite_names_the_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the number of the environment is that among those of all seeds."""
    check: Callable[..., Any] = PopulationA2C._check_rewards

    def spoil(model: PopulationA2C, rewards: Any) -> None:
        rewards[2, 4] = torch.nan  # 3 environments for each seed
        check(model, rewards)

    monkeypatch.setattr(PopulationA2C, "_check_rewards", spoil)
    assert train_together(tmp_path, MAZE, 60, "7..8") == 1
    assert "seed 8: environment 1 gave the reward nan" in capsys.readouterr().err


def test_other_runs_are_trained_one_after_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise --seeds is refused, or the nets are wrong."""
    flags = [*MAZE, "--core.name=gru"]
    assert train_together(tmp_path, flags, 60, "1..2") == 0
    assert "one after the other, because the core is not a plastic_rnn" in capsys.readouterr().err
    own = train(tmp_path / "own", [*flags, "--seed=2"], total=60)
    assert rows(tmp_path / "seed2") == rows(own)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["a2c", "--env-id=CartPole-v1", "--a2c.no-bootstrap-truncated"], "native batch"),
        (["ppo", "--env-id=plasticrl/GridMaze-v0"], "not A2C"),
        (["cue-reward-tuned"], "curriculum"),
        (["maze-quickstart", "--core.name=gru"], "plastic_rnn"),
        (["maze-quickstart", "--core.num-layers=2"], "layers"),
        (["maze-quickstart", "--a2c.no-share-features-extractor"], "critic"),
        (["maze-quickstart", "--a2c.bootstrap-truncated"], "bootstrap_truncated"),
        (["maze-quickstart", "--normalize"], "normalized"),
    ],
)
def test_what_cannot_be_trained_together(flags: list[str], reason: str) -> None:
    """Otherwise an option is ignored in the training of several seeds."""
    preset, *others = flags
    assert reason in str(why_not_together(parse_agent(preset, PRESETS[preset](), others).config))


def options_of_a_core() -> Iterator[dict[str, Any]]:
    """Values of the options that say how the trace changes, each with a modulation it needs."""
    hints = get_type_hints(PlasticRNNConfig)
    for name in ("rule", "modulation", "modulator", "eligibility_squash"):
        for value in get_args(hints[name]):
            yield {"modulation": "retroactive", name: value}


@pytest.mark.parametrize("options", [*options_of_a_core(), {"trial_input": 3}], ids=str)
def test_cores_that_only_the_eager_backend_computes_are_trained_one_by_one(
    options: dict[str, Any],
) -> None:
    """Otherwise ``--seeds`` ends in an error of ours with a new rule or modulation."""
    config = replace(PRESETS["maze-quickstart"](), core=PlasticRNNConfig(**options))
    cell = build_cell(config.core, 17)
    is_fused = FusedBackend().supports(cell, torch.zeros(1, 1, 17))
    reason = None if is_fused else "the core has options that only the eager backend computes"
    assert why_not_together(config) == reason


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_every_environment_of_this_package_can_be(env_id: str, tmp_path: Path) -> None:
    """Otherwise runs begin that end in an error of ours."""
    flags = ["maze-quickstart", *MAZE[1:5], f"--env-id={env_id}"]
    assert why_not_together(parse_agent(flags[0], PRESETS[flags[0]](), flags[1:]).config) is None
    assert train_together(tmp_path, flags, 30, "0..1") == 0


def test_a_folder_that_is_not_empty_stops_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise half of the runs have begun, and the command cannot be repeated."""
    (tmp_path / "seed1").mkdir()
    (tmp_path / "seed1" / "file").write_text("")
    assert train_together(tmp_path, MAZE, 90, "0..1") == 2
    assert f"{tmp_path / 'seed1'} is not empty" in capsys.readouterr().err
    assert not (tmp_path / "seed0").exists()


def test_a_start_that_fails_leaves_no_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the command cannot be repeated, because its folders are not empty."""

    def fail_at_the_second(found: RunDirectory, *given: Any) -> Any:
        if found.path.name == "seed1":
            raise RunError("the disk is full")
        return make_logger(found, *given)

    monkeypatch.setattr(run, "make_logger", fail_at_the_second)
    assert train_together(tmp_path, MAZE, 90, "0..1") == 2
    assert "the disk is full" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_seeds_that_have_not_begun_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the user has to find out which runs are missing."""
    monkeypatch.setattr(session, "StopSignals", Pressed)
    assert train_together(tmp_path, [*MAZE, "--core.name=gru"], 60, "1..3") == 130
    assert "not begun: --seeds 2 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--seeds"),
        (["a"], "0..8"),
        (["3..1"], "upward"),
        (["1", "0..2"], "twice"),
        (["-1"], "-1"),
        (["0..50", "60..150"], "at most 100"),
        (["3000000000"], "seed must be from 0 to 2147483647"),
        (["0", "--seeds", "1"], "--seeds is given more than once"),
        (["0", "--seed=1"], "--seed and --seeds"),
    ],
)
def test_seeds_that_are_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise other seeds are trained than those that were meant."""
    assert train_together(tmp_path / "runs", MAZE, 90, *words) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert len(printed.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()
