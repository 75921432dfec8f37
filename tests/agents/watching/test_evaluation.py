"""Evaluating, watching and recording a run."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image
from stable_baselines3.common.evaluation import evaluate_policy

from plasticrl.agents.training.environments import build_env
from plasticrl.agents.watching import evaluation
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.evaluation import Measurement, measure
from plasticrl.commands import run_command

evaluate_main = partial(run_command, "evaluate")
train_main = partial(run_command, "train")

ROOT = Path(__file__).parents[3]
SIZES = ["--n-envs=3", "--a2c.n-steps=10", "--core.hidden-size=5", "--total-timesteps=30"]
KEYS = {
    *("env_id", "preset", "n_timesteps", "episodes", "seed", "deterministic", "device"),
    *("reward_mean", "reward_ci95", "random_reward_mean", "random_reward_ci95"),
}


def train(path: Path, *flags: str) -> Path:
    assert train_main(["maze-quickstart", *SIZES, *flags, "--run-dir", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def maze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a plastic agent in a small maze."""
    path = tmp_path_factory.mktemp("runs") / "maze"
    strong = ("--core.alpha-scale=2", "--core.weight-scale=1")  # so that plasticity matters
    return train(path, *strong, "--env-kwargs", "size=5", "episode_length=9")


@pytest.fixture(scope="module")
def cart_pole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an LSTM in an environment of another package."""
    path = tmp_path_factory.mktemp("runs") / "cart_pole"
    return train(path, "--env-id=CartPole-v1", "--history", "--core.name=lstm")


def as_json(capsys: pytest.CaptureFixture[str], run: Path, *flags: str) -> dict[str, Any]:
    capsys.readouterr()
    assert evaluate_main([str(run), "--json", *flags]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    result: dict[str, Any] = json.loads(out)
    assert out.count("\n") == 1
    assert json.loads((run / "evaluation.json").read_text()) == result
    return result


def test_json_holds_the_measurement(maze: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the JSON lacks a number, or has that of another evaluation."""
    result = as_json(capsys, maze, "--episodes", "6", "--seed", "5")
    assert result.keys() == KEYS
    agent = TrainedAgent.load(maze)
    trained, random = measure(agent, 6, 5), measure(agent, 6, 5, at_random=True)
    assert result == {
        "env_id": "plasticrl/GridMaze-v0",
        "preset": "maze-quickstart",
        "n_timesteps": 30,
        "episodes": 6,
        "reward_mean": trained.mean,
        "reward_ci95": list(trained.ci95),
        "random_reward_mean": random.mean,
        "random_reward_ci95": list(random.ci95),
        "seed": 5,
        "deterministic": False,
        "device": "cpu",
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="auto is the GPU here")
def test_the_device_of_the_training_does_not_matter(
    maze: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise an agent that was trained on a GPU cannot be measured without one."""
    run = tmp_path / "run"
    shutil.copytree(maze, run)
    config = (run / "config.json").read_text().replace('"device": "cpu"', '"device": "cuda"')
    assert '"device": "cuda"' in config
    (run / "config.json").write_text(config)
    flags = ("--episodes", "6", "--seed", "5")
    result = as_json(capsys, maze, *flags)
    assert as_json(capsys, run, *flags) == result
    assert as_json(capsys, run, *flags, "--device", "auto") == result
    assert (run / "config.json").read_text() == config


def test_ablation_is_measured_beside_it(maze: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the numbers of the ablated agent are missing or wrong."""
    flags = ("--episodes", "40", "--seed", "5")
    plain, result = (
        as_json(capsys, maze, *flags),
        as_json(capsys, maze, *flags, "--ablate-plasticity"),
    )
    agent = TrainedAgent.load(maze)
    ablated = measure(agent.ablate(), 40, 5)
    assert result.pop("ablated_reward_mean") == ablated.mean
    assert result.pop("ablated_reward_ci95") == list(ablated.ci95)
    assert result == plain
    assert ablated.mean != plain["reward_mean"]


def test_ablation_zeroes_alpha_in_a_copy(maze: Path) -> None:
    """Otherwise the trained agent is changed, or other weights are."""
    agent = TrainedAgent.load(maze)
    policy = agent.policy
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    after = agent.ablate().policy.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"core.connection.alpha"}
    assert not after["core.connection.alpha"].any()


def test_stdout_of_the_script_is_json_alone(maze: Path) -> None:
    """Otherwise ``evaluate.py RUN --json | jq`` fails on another line of output."""
    done = subprocess.run(
        [sys.executable, "evaluate.py", str(maze), "--episodes", "3", "--json"],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout).keys() == KEYS


@pytest.mark.parametrize("run", ["maze", "cart_pole"])
def test_the_same_seed_gives_the_same_numbers(
    run: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a result cannot be checked, or the seed has no effect."""
    path: Path = request.getfixturevalue(run)
    first = as_json(capsys, path, "--episodes", "8")
    torch.rand(3)
    assert as_json(capsys, path, "--episodes", "8") == first
    other = as_json(capsys, path, "--episodes", "8", "--seed", "7")
    assert other["random_reward_mean"] != first["random_reward_mean"]


@pytest.mark.parametrize("run", ["maze", "cart_pole"])
def test_episodes_do_not_depend_on_the_rows(
    run: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise episode k depends on how many are played together."""
    agent = TrainedAgent.load(request.getfixturevalue(run))
    side_by_side = measure(agent, 10, seed=3, deterministic=True).rewards
    monkeypatch.setattr(evaluation, "ROWS", 4)
    in_pieces = measure(agent, 10, seed=3, deterministic=True).rewards
    assert in_pieces.tolist() == side_by_side.tolist()
    assert len(set(side_by_side)) > 1


@pytest.mark.parametrize("deterministic", [False, True])
def test_sb3_measures_the_same(maze: Path, deterministic: bool) -> None:
    """Otherwise our numbers are not comparable with SB3's."""
    agent = TrainedAgent.load(maze)
    ours = measure(agent, 12, 3, deterministic).rewards
    env = build_env(agent.config, 12)
    env.seed(3)
    torch.manual_seed(3)
    theirs, _ = evaluate_policy(
        agent.policy, env, 12, deterministic=deterministic, return_episode_rewards=True
    )
    assert ours.tolist() == theirs


def test_sb3_measures_the_same_where_episodes_differ_in_length(cart_pole: Path) -> None:
    """Otherwise rewards after an episode's end are counted, or the last ones are not."""
    agent = TrainedAgent.load(cart_pole)
    ours = measure(agent, 12, 3, deterministic=True).rewards
    env = build_env(agent.config, 12)
    env.seed(3)
    theirs, _ = evaluate_policy(agent.policy, env, 12, return_episode_rewards=True)
    assert sorted(ours.tolist()) == sorted(theirs)


def test_the_interval_by_hand() -> None:
    """mean +- 3.1824 s / sqrt(n) for 1, 2, 3, 4, with s^2 = 5/3 and Student's t of 3 degrees."""
    measurement = Measurement(np.array([1.0, 2.0, 3.0, 4.0]))
    assert measurement.mean == 2.5
    assert measurement.ci95 == pytest.approx((0.4457, 4.5543), abs=1e-4)


def test_the_table_names_every_agent(maze: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the user sees numbers without knowing whose they are."""
    assert evaluate_main([str(maze), "--episodes", "3", "--ablate-plasticity"]) == 0
    out = capsys.readouterr().out
    assert all(agent in out for agent in ("random walk", "trained", "trained, plasticity ablated"))


def test_record_writes_a_gif_of_the_first_episode(
    maze: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise there is no picture, or stdout is not only JSON."""
    path = tmp_path / "episode.gif"
    assert evaluate_main([str(maze), "--json", "--episodes", "2", "--record", str(path)]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["episodes"] == 2
    assert err == f"recorded {path}\n"
    with Image.open(path) as gif:
        assert gif.format == "GIF"
        assert gif.n_frames == 9  # type: ignore[attr-defined]  # a frame for every step
        for frame in range(9):
            gif.seek(frame)
            gif.load()


def test_recording_changes_no_number(
    maze: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the recording changes the random numbers of the evaluation."""
    plain = as_json(capsys, maze, "--episodes", "4")
    assert (
        evaluate_main(
            [str(maze), "--json", "--episodes", "4", "--record", str(tmp_path / "episode.gif")]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out) == plain


@pytest.mark.parametrize(
    ("run", "env_id"), [("maze", "plasticrl/GridMaze-v0"), ("cart_pole", "CartPole-v1")]
)
def test_watch_in_a_pipe_is_plain_lines(
    run: str, env_id: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a log file has escape codes, or nothing is shown without pictures."""
    path: Path = request.getfixturevalue(run)
    capsys.readouterr()
    assert evaluate_main([str(path), "--episodes", "2", "--watch"]) == 0
    out, _ = capsys.readouterr()
    assert "\x1b" not in out
    assert f"\n{env_id}, seed 1000000\n" in out
    assert " steps, " in out.splitlines()[-1]


def test_what_cannot_be_drawn_is_said_before_the_measurement(
    cart_pole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Otherwise the error comes after minutes of evaluation. CartPole needs pygame to be drawn."""
    monkeypatch.setitem(sys.modules, "pygame", None)
    monkeypatch.setattr(evaluation, "measure", lambda *_: pytest.fail("measured"))
    target = tmp_path / "episode.gif"
    capsys.readouterr()
    assert evaluate_main([str(cart_pole), "--record", str(target)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: --record: CartPole-v1 gives no pictures: pygame is not installed")
    assert err.count("\n") == 1
    assert not target.exists()


def test_trials_are_counted_where_an_episode_has_any(tmp_path: Path, capsys: Any) -> None:
    """Otherwise results cannot be compared with the papers', which are per trial."""
    path = tmp_path / "cue"
    sizes = ("--total-timesteps=8", "--n-envs=2", "--a2c.n-steps=2", "--core.hidden-size=4")
    assert train_main(["cue-reward-quickstart", *sizes, "--run-dir", str(path)]) == 0
    result = as_json(capsys, path, "--episodes", "4")
    agent = TrainedAgent.load(path)
    measurement = measure(agent, 4, result["seed"])
    assert measurement.trials is not None
    assert (measurement.trials >= 120 // 5).all()  # a trial of one cue has 4 or 5 steps
    assert (measurement.trials <= 120 // 4).all()
    expected = measurement.rewards.sum() / measurement.trials.sum()
    assert result["reward_per_trial"] == pytest.approx(expected)
    assert abs(result["random_reward_per_trial"]) < 0.5


def test_reward_per_trial_by_hand() -> None:
    """The rewards are 3 and -1 in 2 and 6 trials."""
    measurement = Measurement(np.array([3.0, -1.0]), np.array([2.0, 6.0]))
    assert measurement.summary("x_")["x_reward_per_trial"] == 0.25


class Picture(gym.Env[Any, Any]):
    """The reward is the action that the picture names by its bright channel."""

    observation_space = gym.spaces.Box(0, 255, (36, 36, 3), np.uint8)
    action_space = gym.spaces.Discrete(3)

    def __init__(self, render_mode: str | None = None) -> None:
        pass

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self._draw(), {}

    def step(self, action: Any) -> Any:
        return self._draw(), 1.0, False, False, {}

    def _draw(self) -> Any:
        picture = np.zeros((36, 36, 3), np.uint8)
        picture[..., self.np_random.integers(3)] = 255
        return picture


gym.register("Picture-v0", Picture, max_episode_steps=3)


@pytest.mark.filterwarnings("ignore:.*render_mode=.rgb_array.")  # Gymnasium's
def test_pictures_are_seen_as_in_training(tmp_path: Path) -> None:
    """Otherwise channels are read as rows, and the agent is measured with other pictures."""
    run = tmp_path / "run"
    flags = ["--env-id=Picture-v0", "--n-envs=2", "--a2c.n-steps=4", "--core.hidden-size=4"]
    assert (
        train_main(["maze-quickstart", *flags, "--total-timesteps=8", "--run-dir", str(run)]) == 0
    )
    agent = TrainedAgent.load(run)
    seen: list[Any] = []
    agent.policy.features_extractor.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    evaluation.measure(agent, episodes=2, seed=3)
    assert all(picture.shape == (2, 3, 36, 36) for picture in seen)
    assert all(set(picture.amax(dim=(2, 3)).flatten().tolist()) == {0.0, 1.0} for picture in seen)
