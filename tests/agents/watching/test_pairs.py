"""``--report`` plays the same episodes with and without plasticity, or a recorded episode."""

import json
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from plasticrl.agents.watching import evaluation
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.pairs import play_pairs
from plasticrl.commands import run_command

evaluate_main = partial(run_command, "evaluate")
train_main = partial(run_command, "train")

SIZES = ["--total-timesteps=20", "--n-envs=2", "--a2c.n-steps=5", "--core.hidden-size=4"]


class Lamp(gym.Env[Any, Any]):
    """Five steps with a reward at the end; the picture becomes lighter with every step."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012
    observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None, broken: bool = False) -> None:
        self.render_mode, self.broken, self.steps = render_mode, broken, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        over = self.steps == 5
        return np.zeros(1, np.float32), float(over), over, False, {}

    def render(self) -> Any:
        if self.broken:
            raise gym.error.DependencyNotInstalled("pygame is not here")
        return np.full((10, 500, 3), 40 * self.steps, np.uint8)


gym.register("Lamp-v0", Lamp)


def trained_on(path: Path, *flags: str) -> Path:
    assert train_main(["maze-quickstart", *SIZES, *flags, "--run-dir", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def maze_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_on(tmp_path_factory.mktemp("runs") / "maze", "--env-kwargs", "episode_length=30")


@pytest.fixture(scope="module")
def maze(maze_run: Path) -> TrainedAgent:
    return TrainedAgent.load(maze_run)


def manifest_of(page: Path) -> dict[str, Any]:
    text = re.search('id="manifest">(.*?)</script>', page.read_text())
    assert text is not None
    manifest: dict[str, Any] = json.loads(text[1])
    return manifest


def test_both_recordings_start_alike_and_differ_later(maze: TrainedAgent) -> None:
    """Otherwise the two agents have different goals or starts."""
    pairs = play_pairs(maze, seed=3, episodes=2)
    assert [pair[0].seed for pair in pairs] == [3, 4]
    for intact, ablated in pairs:
        assert ablated is not None
        assert (intact.ablated, ablated.ablated) == (False, True)
        assert intact.synapses is not None
        assert ablated.synapses is not None
        assert intact.scene is not None
        assert ablated.scene is not None
        np.testing.assert_array_equal(intact.scene.grid[0], ablated.scene.grid[0])
        np.testing.assert_array_equal(intact.synapses.weight, ablated.synapses.weight)
        assert np.abs(intact.synapses.alpha).max() > 0
        np.testing.assert_array_equal(ablated.synapses.alpha, 0)
        assert intact.frames is None  # the page draws the scene


def test_the_net_itself_stays_plastic(maze: TrainedAgent) -> None:
    play_pairs(maze, seed=3, episodes=1)
    connection = maze.policy.core.connection
    assert connection is not None
    assert bool((connection.alpha != 0).any())


def test_a_run_becomes_a_page(
    maze_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "maze.html"
    argv = [str(maze_run), "--episodes=2", "--seed=7", "--json", "--report", str(page)]
    assert evaluate_main(argv) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["seed"] == 7
    assert f"wrote {page}\n" in err
    assert "Over 64 episodes the plastic network" in page.read_text()
    recordings = [episode["recordings"] for episode in manifest_of(page)["episodes"]]
    choices = re.findall(r'<option value="(\d)">seed (\d+)</option>', page.read_text())
    assert choices == [("0", "7"), ("1", "8"), ("2", "9"), ("3", "10")]
    assert [[recording["ablated"] for recording in pair] for pair in recordings] == [
        [False, True]
    ] * 4


def test_rewards_by_step_add_up_to_the_measurement(
    maze: TrainedAgent,
) -> None:
    by_step = evaluation.rewards_by_step(maze, episodes=5, seed=3, deterministic=False)
    assert [len(rewards) for rewards in by_step] == [30] * 5
    measured = evaluation.measure(maze, episodes=5, seed=3).rewards
    np.testing.assert_array_equal([rewards.sum() for rewards in by_step], measured)


def test_an_environment_that_draws_itself(tmp_path: Path) -> None:
    run = trained_on(tmp_path / "run", "--env-id=Lamp-v0", "--core.name=lstm")
    (pair,) = play_pairs(TrainedAgent.load(run), seed=3, episodes=1)
    assert pair[1] is None  # nothing to ablate
    assert pair[0].frames is not None
    assert pair[0].frames.shape == (5, 5, 240, 3)
    assert pair[0].frames[:, 0, 0, 0].tolist() == [0, 40, 80, 120, 160]


def test_an_environment_that_cannot_draw_itself_here(tmp_path: Path) -> None:
    """Without pygame, CartPole has no pictures, but the page shows the rest."""
    run = trained_on(tmp_path / "run", "--env-id=Lamp-v0", "--env-kwargs", "broken=true")
    assert evaluate_main([str(run), "--episodes=2", "--report", f"{run}.html"]) == 0
    assert "No picture of Lamp-v0." in Path(f"{run}.html").read_text()


def test_a_recorded_episode_becomes_a_page(maze_run: Path, tmp_path: Path) -> None:
    episode, page = tmp_path / "one.npz", tmp_path / "one.html"
    assert evaluate_main([str(maze_run), "--episodes=2", "--record", str(episode)]) == 0
    assert evaluate_main([str(episode), "--report", str(page)]) == 0
    (only,) = manifest_of(page)["episodes"]
    assert [recording["ablated"] for recording in only["recordings"]] == [False]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("page.htm", r"cannot report to page\.htm: the name must end in \.html"),
        ("no/page.html", r"cannot report to no/page\.html: no is not a writable folder"),
        ("taken.html", r"cannot report to taken\.html: it is a folder"),
    ],
)
def test_a_page_that_cannot_be_written(
    name: str,
    sentence: str,
    maze_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise the error comes after the evaluation."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluation, "measure", lambda *_: pytest.fail("measured"))
    (tmp_path / "taken.html").mkdir()
    shutil.copytree(maze_run, tmp_path / "run")
    capsys.readouterr()
    assert evaluate_main(["run", "--report", name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(f"error: {sentence}\n", err)
