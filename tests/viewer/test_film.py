"""Films: one frame for each step, with the parts that were recorded, and no partial files."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.viewer.conftest import make_maze, make_synapses

from plasticrl.viewer import EpisodeTrace, ViewerError, film, load_npz, record, theme
from plasticrl.viewer.film import check_record_path
from plasticrl.viewer.film_frames import FilmFrames

CELL = 280 / 9
TRACE_LEFT, PANELS_TOP = 320, 98


def middles(left: int) -> tuple[Any, ...]:
    """Rows and columns of the middles of 9 x 9 cells in the panel at `left`."""
    offsets = ((np.arange(9) + 0.5) * CELL).astype(int)
    return np.ix_(PANELS_TOP + offsets, left + offsets)


def frame_of(episode: EpisodeTrace, step: int) -> np.ndarray:
    return np.asarray(list(FilmFrames(episode).frames())[step])


@pytest.mark.parametrize("suffix", [".GIF", ".webp"])
def test_one_frame_per_step_and_the_last_one_holds(
    episode: EpisodeTrace, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"run{suffix}"
    record(episode, path, fps=10)
    durations = []
    with Image.open(path) as image:
        assert image.format == suffix[1:].upper()
        assert image.info["loop"] == 0
        for step in range(12):
            image.seek(step)
            image.load()
            durations.append(image.info["duration"])
        with pytest.raises(EOFError):
            image.seek(12)
    assert durations == [100] * 11 + [1500]
    assert os.listdir(tmp_path) == [path.name]


def test_an_mp4_has_every_step_and_the_last_one_holds(
    episode: EpisodeTrace, tmp_path: Path
) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    record(episode, tmp_path / "run.mp4", fps=10)
    decode = ["-i", str(tmp_path / "run.mp4"), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run([ffmpeg.get_ffmpeg_exe(), *decode], capture_output=True, check=True)
    assert b" 10 fps" in done.stderr
    width, height = FilmFrames(episode).still.size
    shown = np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)
    assert len(shown) == 12 + 15
    drawn = [np.asarray(frame, dtype=float) for frame in FilmFrames(episode).frames()]
    for step in (0, 6, 11):  # blurred, but nearest to the frame that was drawn for the step
        distances = [np.abs(shown[step] - frame).mean() for frame in drawn]
        assert np.argmin(distances) == step
    assert os.listdir(tmp_path) == ["run.mp4"]


def test_an_npz_is_the_episode_itself(episode: EpisodeTrace, tmp_path: Path) -> None:
    record(episode, tmp_path / "run.npz")
    np.testing.assert_array_equal(load_npz(tmp_path / "run.npz").rewards, episode.rewards)


def test_the_environment_is_shown_pixel_for_pixel(fields: dict[str, Any]) -> None:
    episode = EpisodeTrace(**{**fields, "scene": None})
    assert episode.frames is not None
    frame = frame_of(episode, 4)
    np.testing.assert_array_equal(frame[middles(20)], episode.frames[4])


def test_a_scene_is_drawn_with_its_trail(fields: dict[str, Any]) -> None:
    """Otherwise an environment without a scene is drawn with a path."""
    changes = make_maze()
    walls = changes["scene"].grid[0] == 1
    frames = list(FilmFrames(EpisodeTrace(**{**fields, **changes})).frames())
    colors = np.asarray(frames[2])[middles(20)]
    assert (colors[walls] == theme.WALL).all()
    assert tuple(colors[1, 3]) == theme.AGENT
    assert tuple(colors[1, 7]) == theme.BACKGROUND  # where it has never been
    assert colors[1, 1][0] > 2 * theme.BACKGROUND[0]  # where it has been
    after = np.asarray(frames[5])[middles(20)]
    assert tuple(after[1, 2]) == theme.AGENT
    assert tuple(after[1, 4]) == theme.BACKGROUND  # visited before the reward: another path
    goals = [tuple(np.asarray(frames[step])[middles(20)][1, 6].tolist()) for step in (2, 3, 4)]
    assert goals[1] == theme.REWARD  # lit at the step of the reward, and then only
    assert goals[0] == goals[2] != theme.REWARD


def test_the_trace_is_shown_entry_by_entry(fields: dict[str, Any]) -> None:
    """Otherwise the heat map would be upside down, transposed, or of another step."""
    trace = np.random.default_rng(0).uniform(-1, 1, (12, 9, 9)).astype(np.float32)
    trace[0, 0, 0] = 1.0  # the scale
    episode = EpisodeTrace(**{**fields, "synapses": make_synapses(trace)})
    frame = frame_of(episode, 5)
    colors = theme.diverging(trace[5])
    shown = frame[middles(TRACE_LEFT)]
    assert (shown == colors).all(axis=2).mean() > 0.9  # but where a byte rounds to the next shade
    assert not (shown == theme.diverging(trace[6])).all(axis=2).mean() > 0.5


@pytest.mark.parametrize(
    ("absent", "height"),
    [
        ((), 564),
        (("modulation",), 498),
        (("synapses", "modulation"), 476),
        (("frames", "texts", "synapses", "modulation", "values"), 476),
    ],
)
def test_parts_that_were_not_recorded_are_left_out(
    fields: dict[str, Any], tmp_path: Path, absent: tuple[str, ...], height: int
) -> None:
    episode = EpisodeTrace(**{**fields, **dict.fromkeys(absent), "scene": None})
    record(episode, tmp_path / "run.gif")
    with Image.open(tmp_path / "run.gif") as image:
        assert image.size == (620, height)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".mp4"])
@pytest.mark.parametrize("n_steps", [1, 2])
def test_short_silent_episodes_with_long_titles(tmp_path: Path, n_steps: int, suffix: str) -> None:
    if suffix == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
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
    record(episode, tmp_path / f"run{suffix}")
    assert (tmp_path / f"run{suffix}").stat().st_size > 0


def test_two_hundred_steps_of_the_largest_trace_are_small(tmp_path: Path) -> None:
    """Otherwise a film is too large to show. This trace grows from zero, saturates, flickers."""
    rng = np.random.default_rng(0)
    trace = np.zeros((200, 64, 64), np.float32)
    for step in range(1, 200):
        drift = np.outer(np.tanh(rng.normal(size=64)), np.tanh(rng.normal(size=64)))
        trace[step] = np.clip(trace[step - 1] + 0.15 * drift, -1, 1)
    steps = np.zeros(200)
    episode = EpisodeTrace(
        title="t",
        env_id="e",
        preset="p",
        seed=0,
        ablated=False,
        actions=steps,
        rewards=steps,
        modulation=rng.normal(size=200),
        synapses=make_synapses(trace),
    )
    record(episode, tmp_path / "run.gif")
    assert (tmp_path / "run.gif").stat().st_size < 2e6


def test_colors_are_symmetric_around_the_neutral_zero() -> None:
    colors = theme.diverging(np.array([-1.0, 0.0, 1.0]))
    assert [tuple(color) for color in colors.tolist()] == [
        theme.NEGATIVE,
        theme.PANEL,
        theme.POSITIVE,
    ]


@pytest.mark.parametrize(
    ("name", "fps", "message"),
    [
        (
            "run.avi",
            20,
            r"cannot record to .*run\.avi: the name must end in \.gif, \.webp, \.mp4 or \.npz",
        ),
        ("run", 20, "the name must end in"),
        ("missing/run.gif", 20, r"/missing is not a writable folder"),
        ("run.gif", 0, "fps must be above 0 and at most 50, not 0"),
        ("run.gif", 51, "fps must be above 0 and at most 50, not 51"),
    ],
)
def test_what_cannot_be_recorded(
    episode: EpisodeTrace, tmp_path: Path, name: str, fps: float, message: str
) -> None:
    with pytest.raises(ViewerError, match=message):
        record(episode, tmp_path / name, fps=fps)
    assert os.listdir(tmp_path) == []


def test_a_folder_by_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run.gif").mkdir()
    with pytest.raises(ViewerError, match=r"cannot record to .*run\.gif: it is a folder"):
        check_record_path(tmp_path / "run.gif")


def test_a_film_that_is_too_long(
    episode: EpisodeTrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise an hour of Atari would fill the memory."""
    monkeypatch.setattr(film, "MAX_STEPS", 11)
    with pytest.raises(ViewerError, match=r"12 steps are too long a film, of at most 11; .*\.npz"):
        record(episode, tmp_path / "run.gif")
    record(episode, tmp_path / "run.npz")
    assert os.listdir(tmp_path) == ["run.npz"]


def test_an_mp4_without_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the missing package would be reported only after the episode was played."""
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ViewerError, match=r"\.mp4 needs the extra `video`") as raised:
        check_record_path(tmp_path / "run.mp4")
    assert "\n" not in str(raised.value)


def test_what_goes_wrong_in_ffmpeg_is_one_line(
    episode: EpisodeTrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")

    def failing(*_: Any, **__: Any) -> Any:
        yield
        raise OSError("broken pipe\n\nFFMPEG COMMAND:\nffmpeg")

    monkeypatch.setattr(ffmpeg, "write_frames", failing)
    with pytest.raises(ViewerError, match=r"run\.mp4: broken pipe$"):
        record(episode, tmp_path / "run.mp4")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", [".gif", ".npz"])
def test_an_interrupted_write_keeps_the_old_file(
    episode: EpisodeTrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"run{suffix}"
    path.write_bytes(b"old")

    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        record(episode, path)
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == b"old"
