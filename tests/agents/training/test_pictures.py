"""TensorBoard's hyperparameters and pictures of an episode, as TensorBoard reads them."""

import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from plasticrl.agents.training import callbacks
from plasticrl.agents.training.callbacks import EpisodePictures
from plasticrl.commands import run_command
from plasticrl.runs import RunDirectory, get_rng_state, latest_checkpoint, load_checkpoint
from plasticrl.viewer import theme

train_main = partial(run_command, "train")

# 3 environments x 10 steps: an update every 30 steps.
SIZES = ["--n-envs=3", "--a2c.n-steps=10", "--core.hidden-size=5", "--total-timesteps=150"]
MAZE = ["maze-quickstart", *SIZES, "--env-kwargs", "size=5", "episode_length=7"]


def train(path: Path, *argv: str) -> Path:
    assert train_main([*argv, "--run-dir", str(path)]) == 0
    return path


def events(run: Path) -> EventAccumulator:
    return EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0}).Reload()


def images(run: Path, tag: str) -> list[tuple[int, np.ndarray]]:
    """Steps and pixels (h, w, 3); a list, because a step may wrongly appear twice."""
    return [
        (event.step, np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB")))
        for event in events(run).Images(tag)
    ]


@pytest.fixture(scope="module")
def maze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpisodePictures.__init__, "__defaults__", (2,))  # every 2 updates
        return train(tmp_path_factory.mktemp("runs") / "maze", *MAZE)


def test_the_settings_are_hyper_parameters(maze: Path) -> None:
    """Otherwise TensorBoard cannot compare runs by settings, or lists each run twice."""
    metadata = events(maze).SummaryMetadata("_hparams_/session_start_info")
    data = HParamsPluginData.FromString(metadata.plugin_data.content)
    told = data.session_start_info.hparams
    config = json.loads((maze / "config.json").read_text())["config"]
    assert told["preset"].string_value == "maze-quickstart"
    assert told["core.modulation"].string_value == config["core"]["modulation"]
    assert told["a2c.learning_rate"].number_value == config["a2c"]["learning_rate"]
    assert told["env_kwargs.size"].number_value == 5
    shown = events(maze).SummaryMetadata("_hparams_/experiment").plugin_data.content
    (metric,) = HParamsPluginData.FromString(shown).experiment.metric_infos
    assert metric.name.tag in events(maze).Tags()["scalars"]
    # A folder would be a second run.
    assert all(path.is_file() for path in (maze / "tensorboard").iterdir())


def test_a_picture_at_the_start_every_so_often_and_at_the_end(maze: Path) -> None:
    """Otherwise there are no pictures, or one for every update."""
    for tag, size in {"episode/filmstrip": (318, 162), "plastic/trace": (280, 280)}.items():
        found = images(maze, tag)
        # After updates 2 and 4, and after the 5th, which is the last.
        assert [step for step, _ in found] == [0, 60, 120, 150]
        assert {picture.shape for _, picture in found} == {(*size, 3)}


def test_the_last_update_is_shown_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise two pictures, before and after the update, have the same step."""
    monkeypatch.setattr(EpisodePictures.__init__, "__defaults__", (1,))
    shown = images(train(tmp_path / "run", *MAZE), "plastic/trace")
    assert [step for step, _ in shown] == [0, 30, 60, 90, 120, 150]


def test_the_trace_is_drawn(maze: Path) -> None:
    """Otherwise the picture is black or constant. It has 5 x 5 entries of 56 pixels each."""
    _, picture = images(maze, "plastic/trace")[0]
    cells = picture.reshape(5, 56, 5, 56, 3)
    assert (cells == cells[:, :1, :, :1]).all()
    ramp = theme.diverging(np.linspace(-1, 1, 101)).tolist()
    assert all(color in ramp for color in cells[:, 0, :, 0].reshape(-1, 3).tolist())
    assert len(np.unique(cells[:, 0, :, 0].reshape(-1, 3), axis=0)) > 3


def test_an_environment_is_drawn_too(tmp_path: Path) -> None:
    """Otherwise only mazes have pictures. The steps are 0, 10 and 20 of 24, above the trace."""
    flags = ["cue-reward-quickstart", *SIZES, "--env-kwargs", "episode_length=24"]
    step, picture = images(train(tmp_path / "run", *flags), "episode/filmstrip")[-1]
    assert step == 150
    assert picture.shape == (318, 3 * 156 + 6, 3)
    stills = picture[6:156, 6:].reshape(150, 3, 156, 3)[:, :, :150].swapaxes(0, 1)
    assert all(len(np.unique(still.reshape(-1, 3), axis=0)) > 3 for still in stills)
    assert not (np.array_equal(stills[0], stills[1]) and np.array_equal(stills[0], stills[2]))


class Endless(gym.Env[Any, Any]):
    """An environment without an end or pictures, which uses NumPy's global generator."""

    made = 0

    def __init__(self, only: int = 1000) -> None:
        self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        Endless.made += 1
        if Endless.made > only:
            raise OSError(f"there is room for {only}")

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action: Any) -> Any:
        reward = float(np.random.random())  # noqa: NPY002  the global generator
        return np.zeros(2, dtype=np.float32), reward, False, False, {}


gym.register("Endless-v0", Endless)


def left_out(run: Path) -> set[str]:
    texts = events(run).Tensors("episode/left_out/text_summary")
    return {event.tensor_proto.string_val[0].decode() for event in texts}


@pytest.mark.filterwarnings("ignore:.*render_mode='rgb_array'")  # Gymnasium's
def test_what_cannot_be_drawn_is_left_out_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise an endless episode or an error stops the training, or no reason is given."""
    monkeypatch.setattr(callbacks, "LONGEST", 20)
    flags = ["maze-quickstart", *SIZES, "--env-id=Endless-v0", "--core.name=lstm"]
    run = train(tmp_path / "run", *flags)
    assert events(run).Tags()["images"] == []
    assert left_out(run) == {
        "no picture of Endless-v0; no trace or modulation: no plastic connections"
    }
    Endless.made = 0
    run = train(tmp_path / "full", *flags, "--env-kwargs", "only=3")
    assert left_out(run) == {"Endless-v0 cannot be made: OSError: there is room for 3"}


@pytest.mark.filterwarnings("ignore:.*render_mode='rgb_array'")
@pytest.mark.parametrize("env_id", ["plasticrl/GridMaze-v0", "Endless-v0"])
def test_the_same_bits_are_learned_without_pictures(
    env_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the pictures change the training."""
    flags = ["maze-quickstart", *SIZES, f"--env-id={env_id}"]
    monkeypatch.setattr(callbacks, "LONGEST", 20)
    shown: list[int] = []
    show = EpisodePictures._show
    monkeypatch.setattr(EpisodePictures.__init__, "__defaults__", (1,))
    monkeypatch.setattr(EpisodePictures, "_show", lambda self: (shown.append(1), show(self))[1])
    one = train(tmp_path / "one", *flags)
    assert len(shown) == 6  # at the start, after updates 1 to 4, and at the end
    monkeypatch.setattr(EpisodePictures, "_show", lambda self: None)
    other = train(tmp_path / "other", *flags)
    first, second = (load_checkpoint(latest_checkpoint(r / "checkpoints")) for r in (one, other))
    for name, weight in first["policy"].items():
        assert torch.equal(weight, second["policy"][name]), name
    assert torch.equal(first["rng"]["torch"], second["rng"]["torch"])
    assert torch.equal(first["rng"]["numpy"]["key"], second["rng"]["numpy"]["key"])
    assert first["rng"]["numpy"]["pos"] == second["rng"]["numpy"]["pos"]


def test_random_generators_are_restored_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise an episode that fails half-way changes the training."""
    from plasticrl.agents import RecurrentA2C, make_vec_env
    from plasticrl.agents.training.presets import maze_quickstart

    def fail(*_: object, **__: object) -> None:
        torch.rand(3)
        np.random.random()  # noqa: NPY002
        raise ValueError("half-way")

    monkeypatch.setattr(callbacks, "record_episode", fail)
    run = RunDirectory(Path("nowhere"), "rl", "maze-quickstart", {}, {}, {})
    pictures = EpisodePictures(run, maze_quickstart())
    pictures.model = RecurrentA2C("PlasticPolicy", make_vec_env("plasticrl/GridMaze-v0", 2, 0))
    before = get_rng_state()
    with pytest.raises(ValueError, match="half-way"):
        pictures._play()
    after = get_rng_state()
    assert torch.equal(before["torch"], after["torch"])
    assert before["numpy"]["pos"] == after["numpy"]["pos"]


def test_a_mistake_of_our_own_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a bug in the recording of our environments is only a text in TensorBoard."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(callbacks, "record_episode", broken)
    with pytest.raises(RuntimeError, match="a fault"):
        train_main([*MAZE, "--run-dir", str(tmp_path / "run")])
