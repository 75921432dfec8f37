"""The GIF: one frame a step, the parts that were recorded, whole or not there at all."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.viewer.conftest import make_synapses

from plasticrl.viewer import EpisodeTrace, ViewerError, save_gif, theme
from plasticrl.viewer.scene import Scene


def test_one_frame_per_step_and_the_last_one_holds(episode: EpisodeTrace, tmp_path: Path) -> None:
    save_gif(episode, tmp_path / "run.GIF", fps=10)
    durations = []
    with Image.open(tmp_path / "run.GIF") as image:
        assert image.info["loop"] == 0
        for step in range(12):
            image.seek(step)
            durations.append(image.info["duration"])
        with pytest.raises(EOFError):
            image.seek(12)
    assert durations == [100] * 11 + [1500]
    assert os.listdir(tmp_path) == ["run.GIF"]


def test_the_environment_is_shown_pixel_for_pixel(episode: EpisodeTrace) -> None:
    frame = np.asarray(Scene(episode).frames()[4])
    assert episode.frames is not None
    cell = 280 / 9
    centres = (
        (98 + (np.arange(9) + 0.5) * cell).astype(int),
        20 + ((np.arange(9) + 0.5) * cell).astype(int),
    )
    np.testing.assert_array_equal(frame[np.ix_(*centres)], episode.frames[4])


@pytest.mark.parametrize(
    ("absent", "width"),
    [
        ((), 620),
        (("frames",), 320),
        (("synapses", "modulation"), 320),
        (("frames", "synapses"), 620),
    ],
)
def test_parts_that_were_not_recorded_are_left_out(
    fields: dict[str, Any], tmp_path: Path, absent: tuple[str, ...], width: int
) -> None:
    episode = EpisodeTrace(**{**fields, **dict.fromkeys(absent)})
    save_gif(episode, tmp_path / "run.gif")
    with Image.open(tmp_path / "run.gif") as image:
        assert image.width == width


@pytest.mark.parametrize("n_steps", [1, 2])
def test_short_silent_episodes_with_long_titles(tmp_path: Path, n_steps: int) -> None:
    zeros = np.zeros(n_steps)
    episode = EpisodeTrace(
        title="title " * 50,
        env_id="CartPole-v1",
        preset="mine",
        seed=0,
        ablated=False,
        actions=zeros,
        rewards=zeros,
        modulation=zeros,
        synapses=make_synapses(np.zeros((n_steps, 3, 3), np.float32)),
    )
    save_gif(episode, tmp_path / "run.gif")
    assert (tmp_path / "run.gif").stat().st_size > 0


def test_colours_are_symmetric_around_the_neutral_zero() -> None:
    colors = theme.diverging(np.array([-1.0, 0.0, 1.0]))
    assert [tuple(color) for color in colors.tolist()] == [
        theme.NEGATIVE,
        theme.PANEL,
        theme.POSITIVE,
    ]


@pytest.mark.parametrize(
    ("name", "fps", "message"),
    [
        ("run.mp4", 20, r"cannot record to .*run\.mp4: the name must end in \.gif"),
        ("missing/run.gif", 20, r"/missing is not a writable folder"),
        ("run.gif", 0, "fps must be above 0 and at most 50, not 0"),
        ("run.gif", 51, "fps must be above 0 and at most 50, not 51"),
    ],
)
def test_what_cannot_be_recorded(
    episode: EpisodeTrace, tmp_path: Path, name: str, fps: float, message: str
) -> None:
    with pytest.raises(ViewerError, match=message):
        save_gif(episode, tmp_path / name, fps=fps)
    assert os.listdir(tmp_path) == []


def test_a_folder_by_that_name_is_left_alone(episode: EpisodeTrace, tmp_path: Path) -> None:
    (tmp_path / "run.gif").mkdir()
    with pytest.raises(ViewerError, match=r"cannot record to .*run\.gif: Is a directory"):
        save_gif(episode, tmp_path / "run.gif")
    assert os.listdir(tmp_path) == ["run.gif"]


def test_an_interrupted_write_keeps_the_old_file(
    episode: EpisodeTrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.gif").write_bytes(b"old")

    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_gif(episode, tmp_path / "run.gif")
    assert os.listdir(tmp_path) == ["run.gif"]
    assert (tmp_path / "run.gif").read_bytes() == b"old"
