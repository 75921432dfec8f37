"""``evaluate.py`` with recordings: every file type, and an episode without its run or torch."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.commands import run_command
from plasticrl.runs import RunDirectory
from plasticrl.viewer import EpisodeTrace, load_npz, save_npz

evaluate_main = partial(run_command, "evaluate")
train_main = partial(run_command, "train")

ROOT = Path(__file__).parents[2]
SIZES = ["--n-envs=2", "--a2c.n-steps=5", "--core.hidden-size=5", "--total-timesteps=10"]


@pytest.fixture(scope="module")
def maze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a plastic agent in a small maze."""
    path = tmp_path_factory.mktemp("runs") / "maze"
    env = ["--env-kwargs", "size=5", "episode_length=9"]
    assert train_main(["maze-quickstart", *SIZES, *env, "--run-dir", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def cart_pole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an LSTM in an environment of another package."""
    path = tmp_path_factory.mktemp("runs") / "cart_pole"
    flags = ["--env-id=CartPole-v1", "--core.name=lstm", "--run-dir", str(path)]
    assert train_main(["maze-quickstart", *SIZES, *flags]) == 0
    return path


@pytest.fixture(scope="module")
def recorded(maze: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded episode of the maze."""
    path = tmp_path_factory.mktemp("recorded") / "episode.npz"
    assert evaluate_main([str(maze), "--episodes=2", "--record", str(path)]) == 0
    return path


def refusal(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The error message of the command."""
    capsys.readouterr()
    assert evaluate_main([str(word) for word in argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".mp4"])
def test_every_film_from_the_run_and_from_the_episode(
    maze: Path, recorded: Path, tmp_path: Path, suffix: str
) -> None:
    """Otherwise a replay gives another film than the run."""
    if suffix == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
    live, replayed = tmp_path / f"live{suffix}", tmp_path / f"replayed{suffix}"
    assert evaluate_main([str(maze), "--episodes=2", "--record", str(live)]) == 0
    assert evaluate_main([str(recorded), "--record", str(replayed)]) == 0
    assert live.read_bytes() == replayed.read_bytes()


def test_the_episode_is_the_first_of_the_measured(recorded: Path) -> None:
    episode = load_npz(recorded)
    assert (episode.env_id, episode.preset) == ("plasticrl/GridMaze-v0", "maze-quickstart")
    assert (episode.seed, episode.ablated, episode.n_steps) == (1_000_000, False, 9)
    assert episode.synapses is not None
    assert episode.scene is not None


def test_watched_live_and_replayed_are_the_same(
    maze: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert evaluate_main([str(maze), "--episodes=2", "--watch"]) == 0
    live, _ = capsys.readouterr()
    assert evaluate_main([str(recorded), "--watch"]) == 0
    replayed, _ = capsys.readouterr()
    assert replayed.startswith("plasticrl/GridMaze-v0, seed 1000000\n")
    assert live.endswith(replayed)


@pytest.mark.parametrize("output", ["--watch", "--record"])
def test_a_replay_without_torch(recorded: Path, tmp_path: Path, output: str) -> None:
    """Otherwise a recipient of the file has to install gigabytes to see it."""
    code = (
        "import runpy, sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('torch', 'stable_baselines3', 'gymnasium', 'numba'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"sys.argv[0] = {str(ROOT / 'evaluate.py')!r}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    flags = ["--watch"] if output == "--watch" else ["--record", str(tmp_path / "episode.gif")]
    done = subprocess.run(
        [sys.executable, "-c", code, str(recorded), *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if output == "--watch":
        assert done.stdout.startswith("plasticrl/GridMaze-v0, seed 1000000\n")
    else:
        assert done.stderr == f"recorded {tmp_path / 'episode.gif'}\n"
        with Image.open(tmp_path / "episode.gif") as gif:
            assert gif.n_frames == 9  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "is a recorded episode: give --watch, --record FILE or --report FILE"),
        (["--watch", "--episodes", "3"], "is a recorded episode: leave out --episodes"),
        (["--watch", "--seed", "3"], "is a recorded episode: leave out --seed"),
        (["--watch", "--deterministic"], "leave out --deterministic"),
        (["--watch", "--ablate-plasticity"], "leave out --ablate-plasticity"),
        (["--json"], "leave out --json"),
        (["--record", "no/episode.gif"], "cannot record to no/episode.gif: no is not a writable"),
    ],
)
def test_an_impossible_replay(
    recorded: Path, capsys: pytest.CaptureFixture[str], flags: list[str], sentence: str
) -> None:
    """Otherwise a flag is ignored."""
    assert sentence in refusal(capsys, recorded, *flags)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"hello"])
def test_a_file_that_is_no_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    path = tmp_path / "episode.npz"
    if content is not None:
        path.write_bytes(content)
    assert f"cannot read {path}: " in refusal(capsys, path, "--watch")


def test_cart_pole_without_pygame(
    cart_pole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise an episode without picture, trace and modulation cannot be shown."""
    monkeypatch.setitem(sys.modules, "pygame", None)
    path = tmp_path / "episode.npz"
    assert evaluate_main([str(cart_pole), "--episodes=2", "--record", str(path)]) == 0
    assert "note: CartPole-v1 gives no pictures: pygame" in capsys.readouterr().err
    assert evaluate_main([str(path), "--watch", "--record", str(tmp_path / "e.gif")]) == 0
    out, _ = capsys.readouterr()
    assert "\nno picture of CartPole-v1\nno trace or modulation: no plastic connections\n" in out
    assert (tmp_path / "e.gif").exists()


def test_the_path_is_asked_before_the_run_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a wrong path is an error only after the episode was played."""
    run = RunDirectory.create(
        tmp_path / "run", kind="rl", preset="x", config={}
    )  # not to be loaded
    sentence = refusal(capsys, run.path, "--record", tmp_path / "none" / "episode.gif")
    assert "is not a writable folder" in sentence


def test_a_run_without_a_checkpoint(
    maze: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text((maze / "config.json").read_text())
    sentence = refusal(capsys, tmp_path / "run", "--record", tmp_path / "episode.gif")
    assert f"no checkpoint in {tmp_path / 'run' / 'checkpoints'}" in sentence
    assert os.listdir(tmp_path) == ["run"]


def test_an_existing_file_is_replaced(recorded: Path, tmp_path: Path) -> None:
    path = tmp_path / "episode.gif"
    path.write_text("old")
    assert evaluate_main([str(recorded), "--record", str(path)]) == 0
    assert path.read_bytes()[:6] == b"GIF89a"


def test_recording_beside_json(
    maze: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise stdout is not only JSON."""
    capsys.readouterr()
    argv = [str(maze), "--json", "--episodes=2", "--record", str(tmp_path / "e.npz")]
    assert evaluate_main(argv) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["episodes"] == 2
    assert err == f"recorded {tmp_path / 'e.npz'}\n"


def test_a_file_of_the_smallest_episode(tmp_path: Path) -> None:
    """Otherwise an episode with one step and only a reward cannot be shown."""
    episode = EpisodeTrace(
        title="one step",
        env_id="Somebody-v0",
        preset="mine",
        seed=0,
        ablated=False,
        actions=np.zeros(1),
        rewards=np.ones(1),
    )
    save_npz(episode, tmp_path / "e.npz")
    argv = [str(tmp_path / "e.npz"), "--watch", "--record", str(tmp_path / "e.webp")]
    assert evaluate_main(argv) == 0


def test_exporting_a_run(
    maze: Path, recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the file has another agent, or the run is not measured as with --record."""
    path = tmp_path / "agent.pt2"
    capsys.readouterr()
    assert evaluate_main([str(maze), "--json", "--episodes=2", "--export", str(path)]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["episodes"] == 2
    assert err == f"exported {path}\n"
    extra = {"metadata.json": ""}
    program = torch.export.load(path, extra_files=extra)
    assert json.loads(extra["metadata.json"])["env_id"] == "plasticrl/GridMaze-v0"
    policy = TrainedAgent.load(maze).policy
    weights = [value for value in program.state_dict.values() if value.shape == (5, 5)]
    assert any(torch.equal(policy.core.connection.alpha, value) for value in weights)
    assert "is a recorded episode: leave out --export" in refusal(
        capsys, recorded, "--watch", "--export", path
    )


def test_exporting_an_agent_of_the_gallery(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a flag is ignored, or a wrong path is an error only after loading the agent."""
    path = tmp_path / "maze.onnx"
    for flags in (["--seed", "3"], ["--deterministic"], ["--episodes", "3"], ["--json"]):
        sentence = refusal(capsys, "--gallery", "maze", "--export", path, *flags)
        assert f"shown or exported, and not measured again: leave out {flags[0]}" in sentence
    sentence = refusal(capsys, "--gallery", "maze", "--export", tmp_path / "maze.h5")
    assert f"cannot export to {tmp_path / 'maze.h5'}: the name must end in .onnx or" in sentence
    assert os.listdir(tmp_path) == []
    assert evaluate_main(["--gallery", "maze", "--export", str(path)]) == 0
    assert os.listdir(tmp_path) == ["maze.onnx"]
    assert capsys.readouterr().err.startswith(f"exported {path}\nmaze: maze-quickstart")
