"""The files that a training run writes into its directory."""

import json
import signal
import sys
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from plasticrl.agents.recurrent_a2c import RecurrentA2C
from plasticrl.agents.training import callbacks
from plasticrl.agents.training.building import build_model
from plasticrl.agents.training.config import A2CConfig, A2CTrainConfig, open_run
from plasticrl.agents.training.environments import build_env, build_single_env, is_native
from plasticrl.agents.training.presets import PRESETS
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.commands import run_command
from plasticrl.core import cell_fields
from plasticrl.runs import DivergedError, RunDirectory, read_metrics

train_main = partial(run_command, "train")

# 3 environments x 10 steps: an update every 30 steps, 5 of them, a checkpoint after every second.
TINY = [
    "maze-quickstart",
    *("--n-envs=3", "--a2c.n-steps=10", "--core.hidden-size=5", "--total-timesteps=150"),
    *("--checkpoint-every=2", "--env-kwargs", "size=5", "episode_length=7"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "deep" / "run"
    assert train_main([*TINY, "--run-dir", str(path)]) == 0
    return path


def test_the_run_directory_holds_what_it_should(run: Path) -> None:
    """Otherwise a run cannot be read, resumed or watched, or leaves temporary files."""
    names = {path.name for path in run.iterdir()}
    assert names == {"config.json", "metrics.jsonl", "tensorboard", "checkpoints"}


def test_the_config_is_the_run(run: Path) -> None:
    """Otherwise a run cannot be repeated from its config."""
    opened, config = open_run(run)
    assert opened.preset == "maze-quickstart"
    preset = PRESETS["maze-quickstart"]()
    assert config == replace(
        preset,
        env_kwargs={"size": 5, "episode_length": 7},
        n_envs=3,
        total_timesteps=150,
        checkpoint_every=2,
        core=replace(preset.core, hidden_size=5),
        a2c=replace(preset.a2c, n_steps=10),
    )
    libraries = {"plasticrl", "torch", "numpy", "python", "stable-baselines3", "gymnasium"}
    assert opened.versions.keys() == libraries


@pytest.mark.parametrize("env_id", ["plasticrl/GridMaze", "plasticrl.envs:plasticrl/GridMaze-v0"])
def test_an_id_in_another_form_is_the_same_run(env_id: str, run: Path, tmp_path: Path) -> None:
    """Otherwise the preset's options are dropped, and the environments are not a native batch."""
    argv = [f"--env-id={env_id}", "--run-dir", str(tmp_path / "other")]
    assert train_main([*TINY[:-3], *argv, *TINY[-3:]]) == 0
    config = open_run(tmp_path / "other")[1]
    assert config == open_run(run)[1]
    by_hand = replace(config, env_id=env_id)  # not by ``vary_config``, which writes the full id
    assert is_native(by_hand)
    assert is_native(config)
    with build_single_env(by_hand, "rgb_array") as env:
        assert env.spec is not None
        assert env.spec.id == config.env_id


def test_the_last_three_checkpoints_stay(run: Path) -> None:
    """Otherwise the disk fills up, or the end of the run is lost."""
    names = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert names == [f"step_{step:012d}.pt" for step in (60, 120, 150)]


def test_a_checkpoint_runs_no_code(run: Path) -> None:
    """Otherwise opening a run can execute code of its author."""
    for path in (run / "checkpoints").iterdir():
        content = torch.load(path, weights_only=True)["content"]
        assert {"policy", "optimizer", "rng", "environments", "num_timesteps"} <= content.keys()


def test_one_line_of_metrics_for_every_rollout(run: Path) -> None:
    """Otherwise a curve has gaps."""
    rows = read_metrics(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [30, 60, 90, 120, 150]
    assert [row["time/iterations"] for row in rows] == [1, 2, 3, 4, 5]
    assert all(row["rollout/ep_len_mean"] == 7 for row in rows)
    wanted = {"train/learning_rate", "train/grad_norm", "train/policy_loss"}
    wanted |= {f"plastic/{name}" for name in ("alpha_abs_mean", "trace_saturation")}
    assert wanted <= rows[-1].keys()


def test_the_same_seed_gives_the_same_run(run: Path, tmp_path: Path) -> None:
    """Otherwise a result cannot be reproduced."""
    assert train_main([*TINY, "--run-dir", str(tmp_path / "again")]) == 0
    assert train_main([*TINY, "--seed", "1", "--run-dir", str(tmp_path / "other")]) == 0
    assert _numbers(tmp_path / "again") == _numbers(run)
    assert _numbers(tmp_path / "other") != _numbers(run)


def _numbers(run: Path) -> list[dict[str, Any]]:
    rows = read_metrics(run / "metrics.jsonl")
    return [{name: row[name] for name in row if not name.startswith("time/")} for row in rows]


def test_the_default_directory_is_new_and_under_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise runs overwrite each other."""
    monkeypatch.chdir(tmp_path)
    assert train_main(TINY) == 0
    (run,) = (tmp_path / "logs").iterdir()
    assert run.name.startswith("maze-quickstart-seed0-")
    assert RunDirectory.open(run).preset == "maze-quickstart"


def test_the_last_lines_say_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the user does not learn what to do with the run, or stdout is not empty."""
    run = tmp_path / "a folder with spaces and a very long name that is longer than a terminal line"
    assert train_main([*TINY, "--run-dir", str(run)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    note, first, *progress, last = err.splitlines()
    assert note.startswith("this run trains for 150 steps and the preset for 4,800,000: ")
    assert first == f"run directory: {run}"
    assert progress[-1].startswith("100 %: 150 of 150 steps, reward ")
    assert last.startswith("trained 150 steps in ")
    assert last.endswith(f"measure with: plasticrl evaluate '{run}'")


def test_what_is_dropped_is_named_as_it_is_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the user cannot type it to have it back."""
    flags = ["cue-reward-tuned", *TINY[1:5], "--env-id=CartPole-v1", "--run-dir"]
    assert train_main([*flags, str(tmp_path / "run")]) == 0
    assert (
        "are dropped: --env-kwargs n_cues=4, --env-kwargs cue_bits=20, "
        "--env-kwargs episode_length=200, --a2c.entropy simpson, --curriculum.option n_cues, "
        "--curriculum.stages 2 3 4\n"
    ) in capsys.readouterr().err


def test_steps_are_rounded_up_to_whole_rollouts(tmp_path: Path) -> None:
    """Otherwise the last update has a part of a rollout, or is missing."""
    assert train_main([*TINY, "--total-timesteps", "61", "--run-dir", str(tmp_path / "run")]) == 0
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == 90


def test_a_gradient_that_is_not_finite_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a diverged run continues for hours, or overwrites its last good checkpoint."""
    train = RecurrentA2C.train

    def diverge(self: RecurrentA2C) -> None:
        if self.num_timesteps == 90:
            raise DivergedError("the gradient's norm is nan")
        train(self)

    monkeypatch.setattr(RecurrentA2C, "train", diverge)
    assert train_main([*TINY, "--run-dir", str(tmp_path / "run")]) == 1
    assert "error: the gradient's norm is nan\nsaved up to" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == [
        "step_000000000060.pt"
    ]


def test_a_run_restores_the_handler_of_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise Ctrl-C has no effect on the program after a training."""
    before = signal.getsignal(signal.SIGINT)
    assert train_main([*TINY, "--run-dir", str(tmp_path / "good")]) == 0
    assert signal.getsignal(signal.SIGINT) is before

    def diverge(_: RecurrentA2C) -> None:
        assert signal.getsignal(signal.SIGINT) is not before
        raise DivergedError

    monkeypatch.setattr(RecurrentA2C, "train", diverge)
    assert train_main([*TINY, "--run-dir", str(tmp_path / "bad")]) == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_config_json_has_every_setting(run: Path) -> None:
    """Otherwise a later change of a default changes an old run."""
    config = json.loads((run / "config.json").read_text())["config"]
    assert config.keys() == {"name", *(item.name for item in fields(A2CTrainConfig))}
    assert config["core"].keys() == {"name", *cell_fields("plastic_rnn")}
    assert config["a2c"].keys() == {item.name for item in fields(A2CConfig)}


class Counted(gym.Env[Any, Any]):
    """Continuous actions, and a count of the copies that are open."""

    n_open = 0
    observation_space = action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self) -> None:
        Counted.n_open += 1

    def close(self) -> None:
        Counted.n_open -= 1

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(2, dtype=np.float32), {}

    def step(self, action: Any) -> Any:
        return np.zeros(2, dtype=np.float32), 0.0, False, False, {}


gym.register("Counted-v0", Counted, max_episode_steps=5)


@pytest.mark.filterwarnings("ignore:.*render_mode=.rgb_array.")  # Gymnasium's
def test_the_learning_rate_and_the_weight_of_the_entropy_fall_at_the_end() -> None:
    """Otherwise a decay has no effect, or the one has that of the other."""
    options = A2CConfig(
        learning_rate=0.2, learning_rate_decay=0.5, ent_coef=0.4, ent_coef_decay=0.25
    )
    config = A2CTrainConfig(n_envs=1, a2c=options)
    model = build_model(config, build_env(config, 1))
    seen = []
    for remaining in (1, 0.5, 0.25, 0.125, 0):
        model._current_progress_remaining = remaining
        seen.append((model.lr_schedule(remaining), model.current_ent_coef()))
    assert seen == [(0.2, 0.4), (0.2, 0.4), (0.1, 0.4), (0.05, 0.2), (0, 0)]


def test_every_environment_is_closed(tmp_path: Path) -> None:
    """Otherwise a user's simulators stay open after training, after loading, or after an error."""
    run = tmp_path / "run"
    flags = ["maze-quickstart", *TINY[1:5], "--env-id=Counted-v0", "--run-dir", str(run)]
    assert train_main([*flags, "--a2c.entropy=simpson"]) == 2
    assert Counted.n_open == 0
    assert train_main(flags) == 0
    assert train_main(flags) == 2
    assert train_main(["--resume", str(run)]) == 0
    TrainedAgent.load(run)
    assert Counted.n_open == 0


@pytest.mark.parametrize("core", [[], ["--core.num-layers=2", "--a2c.no-share-features-extractor"]])
@pytest.mark.parametrize(
    ("learning_rate", "signs"),
    [
        (
            "1000",
            {"the value loss is", "activity is at its limits", "or raise --a2c.ent-coef 0.03"},
        ),
        ("0.001", set()),
    ],
)
def test_a_training_that_diverges_is_warned_of(
    learning_rate: str,
    signs: set[str],
    core: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Otherwise a run that no longer learns looks successful, or a good run is warned of."""
    flags = [*TINY, *core, "--total-timesteps=600", f"--a2c.learning-rate={learning_rate}"]
    assert train_main([*flags, "--run-dir", str(tmp_path / "run")]) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == len(signs)
    assert all(any(sign in line for line in warnings) for sign in signs)


def test_weights_that_are_not_finite_are_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the last good checkpoint would be followed by ones that nobody can use."""
    train = RecurrentA2C.train

    def spoiled(model: RecurrentA2C) -> None:
        train(model)
        if model.num_timesteps == 120:
            with torch.no_grad():
                model.policy.action_net.weight[0, 0] = torch.inf

    monkeypatch.setattr(RecurrentA2C, "train", spoiled)
    run = tmp_path / "run"
    assert train_main([*TINY, "--run-dir", str(run)]) == 1
    *_, error, note = capsys.readouterr().err.splitlines()
    assert error == (
        "error: the weights action_net.weight are not finite: lower the learning rate "
        "(after 120 steps)"
    )
    assert note.startswith("saved up to step_000000000060.pt; continue with: ")
    names = [path.name for path in (run / "checkpoints").iterdir()]
    assert names == ["step_000000000060.pt"]


class Failing(Counted):
    """An environment whose fourth step fails in the given way."""

    def __init__(self, how: str = "raise", render_mode: str | None = None) -> None:
        super().__init__()
        self.how, self.n_steps = how, 0

    def step(self, action: Any) -> Any:
        self.n_steps += 1
        obs = np.zeros(2, dtype=np.float32)
        if self.n_steps % 4 == 0:
            if self.how == "raise":
                raise ZeroDivisionError("a fault of the user's")
            if self.how == "exit":
                sys.exit(0)
            return {
                "obs": (obs[:1], 0.0, False, False, {}),
                "four": (obs, 0.0, False, {}),
                "reward": (obs, "1.5", False, False, {}),
                "terminated": (obs, 1.5, "False", False, {}),
                "truncated": (obs, 1.5, False, None, {}),
            }[self.how]
        return obs, 0.0, False, False, {}


gym.register("Failing-v0", Failing, max_episode_steps=5)


@pytest.mark.filterwarnings("ignore")  # Gymnasium's, about what the environment returns
@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("raise", "failed: ZeroDivisionError: a fault of the user's (after 9 steps)"),
        ("exit", "tried to end the program: SystemExit: 0 (after 9 steps)"),
        ("four", "failed: ValueError: not enough values to unpack (expected 5, got 4) (after 9 st"),
        ("reward", "failed: ValueError: step returned the reward '1.5', which is not a number"),
        ("obs", "failed: ValueError: step returned an observation of shape (1,), but its space"),
        ("terminated", "failed: ValueError: step returned terminated='False', which is not a bool"),
        ("truncated", "failed: ValueError: step returned truncated=None, which is not a bool"),
    ],
)
def test_an_environment_that_fails(
    how: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Otherwise the user does not know which environment failed, when, or how to continue."""
    monkeypatch.setattr(callbacks, "LONGEST", 2)
    flags = ["maze-quickstart", *TINY[1:5], "--a2c.n-steps=2", "--checkpoint-every=1"]
    flags += ["--env-id=Failing-v0", "--env-kwargs", f"how={how}", "--run-dir"]
    assert train_main([*flags, str(tmp_path / "run")]) == 1
    lines = capsys.readouterr().err.splitlines()
    (number,) = (index for index, line in enumerate(lines) if line.startswith("error: "))
    assert lines[number].startswith(f"error: environment 0 (Failing-v0) {sentence}")
    assert "saved up to step_000000000006.pt; continue with: " in lines[number + 1]
    assert lines[number + 2].startswith("Traceback")
