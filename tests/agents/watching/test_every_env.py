"""Every environment of the table has pictures in every medium, without drawing code."""

from io import StringIO
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image
from rich.console import Console, ConsoleDimensions

from plasticrl.agents.training.building import build_model
from plasticrl.agents.training.callbacks import _pictures
from plasticrl.agents.training.config import A2CTrainConfig
from plasticrl.agents.training.environments import build_env
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.recording import describes_scene, frames_mode, record_episode
from plasticrl.core.cells.configs import PlasticRNNConfig
from plasticrl.envs import ENV_IDS
from plasticrl.runs import RunDirectory, to_dict
from plasticrl.viewer import EpisodeTrace, load_npz, record, save_npz, watch
from plasticrl.viewer.film_frames import FilmFrames
from plasticrl.viewer.report import page
from plasticrl.viewer.scenery import scenery
from plasticrl.viewer.screen import Screen
from plasticrl.viewer.still import filmstrip

all_ids = pytest.mark.parametrize("env_id", ENV_IDS)


def play(env_id: str, **env_kwargs: Any) -> EpisodeTrace:
    """An episode of an untrained agent, without rendering."""
    core = PlasticRNNConfig(hidden_size=8, modulation="simple")
    options = {"episode_length": 30, **env_kwargs}
    config = A2CTrainConfig(env_id=env_id, env_kwargs=options, core=core, n_envs=1, device="cpu")
    policy = build_model(config, build_env(config, 1)).policy
    run = RunDirectory(Path("nowhere"), "rl", "mine", to_dict(config), {}, {})
    return record_episode(TrainedAgent(run, config, policy, 0), 1, frames_mode(config))


@pytest.fixture(scope="module", params=ENV_IDS)
def episode(request: pytest.FixtureRequest) -> EpisodeTrace:
    return play(request.param)


def differ(pictures: list[Any]) -> bool:
    return any(not np.array_equal(pictures[0], picture) for picture in pictures[1:])


def test_the_scene_is_recorded_and_nothing_else_is_needed(episode: EpisodeTrace) -> None:
    assert episode.scene is not None
    assert (episode.frames, episode.texts) == (None, None)
    assert differ(list(episode.scene.grid))
    n_actions = gym.make(episode.env_id).action_space.n  # type: ignore[attr-defined]
    assert len(episode.scene.actions) in (0, n_actions)


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
@pytest.mark.parametrize("no_color", [False, True])
def test_the_terminal(episode: EpisodeTrace, size: tuple[int, int], no_color: bool) -> None:
    drawn = [scenery(episode, step, 38, 18, no_color) for step in range(episode.n_steps)]
    assert all(drawn)
    assert len({tuple(map(str, lines)) for lines in drawn}) > 1 or not no_color
    screen = Screen(episode, ConsoleDimensions(*size), no_color)
    for step in range(episode.n_steps):
        lines = screen.picture(step).split("\n", allow_blank=True)
        assert len(lines) < size[1]
        assert max(line.cell_len for line in lines) <= size[0]
    file = StringIO()
    watch(episode, Console(file=file, force_terminal=True, width=80, height=24), fps=1e6)
    assert "no picture" not in file.getvalue()


def test_films_and_stills(episode: EpisodeTrace, tmp_path: Path) -> None:
    frames = [np.asarray(frame)[98:378, 20:300] for frame in FilmFrames(episode).frames()]
    assert all(len(np.unique(frame.reshape(-1, 3), axis=0)) > 3 for frame in frames)
    assert differ(frames)
    record(episode, tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames > 1  # type: ignore[attr-defined]
    strip = filmstrip([episode], [0, episode.n_steps - 1])
    assert strip is not None
    assert strip.height == 318  # the environment above the trace


def test_a_recorded_file(episode: EpisodeTrace, tmp_path: Path) -> None:
    save_npz(episode, tmp_path / "e.npz")
    scene = load_npz(tmp_path / "e.npz").scene
    assert scene is not None
    assert episode.scene is not None
    assert scene.symbols == episode.scene.symbols
    np.testing.assert_array_equal(scene.grid, episode.scene.grid)


def test_the_page(episode: EpisodeTrace) -> None:
    html = page([(episode, None)])
    assert '"scene": {"symbols"' in html
    assert "No picture" not in html


def test_pictures_for_tensorboard(episode: EpisodeTrace) -> None:
    assert {"episode/filmstrip", "plastic/trace"} == _pictures(episode).keys()


def test_whether_an_episode_was_terminated_is_recorded(tmp_path: Path) -> None:
    """The T-maze rewards only the end of an arm; a time limit is not a termination."""
    seen = set()
    for corridor, length in ((3, 2), (1, 60)):
        options = {"corridor_length": corridor, "episode_length": length}
        episode = play("plasticrl/TMaze-v0", **options)
        assert episode.terminated == bool(episode.rewards[-1])
        save_npz(episode, tmp_path / "e.npz")
        assert load_npz(tmp_path / "e.npz").terminated == episode.terminated
        seen.add(episode.terminated)
    assert seen == {False, True}


@all_ids
def test_renderings(env_id: str) -> None:
    """Frames and texts show every kind of cell that the scene has."""
    for mode in ("rgb_array", "ansi"):
        env: Any = gym.make(env_id, render_mode=mode)
        env.reset(seed=0)
        picture, scene = env.render(), env.unwrapped.scene()
        shown = {scene.symbols[index] for index in np.unique(scene.grid)}
        if mode == "ansi":
            assert all(symbol.text in picture for symbol in shown)
        else:
            assert len(np.unique(picture.reshape(-1, 3), axis=0)) > len(shown)


def test_a_scene_that_is_larger_than_any_view_draws() -> None:
    """Otherwise the film of a large scene is an error, though frames can be drawn."""
    episode = play("plasticrl/GridMaze-v0", size=201, episode_length=2)
    assert episode.scene is None
    assert episode.frames is not None
    config = A2CTrainConfig(env_id="plasticrl/GridMaze-v0", env_kwargs={"size": 201})
    assert not describes_scene(config)
