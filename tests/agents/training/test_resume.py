"""A run that was interrupted and resumed equals an uninterrupted one, bit for bit."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from plasticrl.agents.recurrent_a2c import RecurrentA2C
from plasticrl.commands import run_command
from plasticrl.runs import latest_checkpoint, load_checkpoint, read_metrics, save_checkpoint

train_main = partial(run_command, "train")

ROOT = Path(__file__).parents[3]

# 3 environments x 10 steps: an update every 30 steps. Episodes of 7 steps are cut by rollouts.
SIZES = ["--n-envs=3", "--a2c.n-steps=10", "--core.hidden-size=5", "--checkpoint-every=2"]
MAZE = ["maze-quickstart", *SIZES, "--env-kwargs", "size=5", "episode_length=7"]
CUES = ["cue-reward-quickstart", *SIZES, "--env-kwargs", "episode_length=9"]
# The generic presets, which have the algorithms' defaults and VecNormalize.
OWN = ["--env-id=plasticrl/GridMaze-v0", *SIZES, *MAZE[-3:], "--a2c.net-arch=6"]
RUNS = {
    "maze": MAZE,
    "retroactive": [*MAZE, "--core.modulation", "retroactive", "--a2c.bptt-length", "4"],
    "plastic_lstm": [*MAZE, "--core.name", "plastic_lstm", "--core.bound", "soft"],
    "lstm": [*MAZE, "--core.name", "lstm", "--a2c.bootstrap-truncated"],
    "separate": [*MAZE, "--a2c.no-share-features-extractor"],
    "layers": ["a2c", *OWN, "--core.num-layers=2"],
    "ppo": ["ppo", *[flag.replace("a2c", "ppo") for flag in OWN], "--ppo.batch-size=10"],
    "normalize": [*MAZE, "step_penalty=0.25", "--normalize", "--a2c.bootstrap-truncated"],
    "cue-reward": CUES,
    "curriculum": [
        *("cue-reward-tuned", *SIZES, "--env-kwargs", "episode_length=9"),
        *("--curriculum.threshold=-2", "--curriculum.episodes=8"),
        *("--a2c.learning-rate-decay=0", "--a2c.ent-coef-decay=0"),  # they depend on the total
    ],
}


def train(path: Path, flags: list[str], total: int) -> Path:
    assert train_main([*flags, "--total-timesteps", str(total), "--run-dir", str(path)]) == 0
    return path


def resume(path: Path, total: int | None = None, *flags: str) -> None:
    # TensorBoard sorts event files by the second in their names, and users resume later.
    for file in (path / "tensorboard").iterdir():
        second = file.name.split(".")[3]
        file.rename(file.with_name(file.name.replace(second, str(int(second) - 100))))
    more = [] if total is None else ["--total-timesteps", str(total)]
    assert train_main(["--resume", str(path), *more, *flags]) == 0


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """TensorBoard's curves, as TensorBoard reads them."""
    events = EventAccumulator(str(run / "tensorboard"), purge_orphaned_data=True).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if tag != "time/fps"
    }


def rows(run: Path) -> list[dict[str, Any]]:
    clock = ("time/fps", "time/time_elapsed")
    lines = read_metrics(run / "metrics.jsonl")
    return [{name: line[name] for name in line if name not in clock} for line in lines]


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def assert_same_run(run: Path, unbroken: Path) -> None:
    one, other = (
        load_checkpoint(latest_checkpoint(path / "checkpoints")) for path in (run, unbroken)
    )
    assert one.keys() == other.keys()
    different = [name for name in one if name != "elapsed" and not same(one[name], other[name])]
    assert different == []
    assert rows(run) == rows(unbroken)
    curves = scalars(unbroken)
    assert {tag.partition("/")[0] for tag in curves} >= {"rollout", "train"}
    assert scalars(run) == curves


@pytest.mark.parametrize("flags", RUNS.values(), ids=RUNS)
def test_a_run_in_pieces_equals_a_run_in_one(flags: list[str], tmp_path: Path) -> None:
    """Otherwise a checkpoint lacks something on which the training depends."""
    algorithm = "ppo" if flags[0] == "ppo" else "a2c"
    flags = [*flags, f"--{algorithm}.learning-rate-decay=0"]  # a decay depends on the total
    unbroken = train(tmp_path / "unbroken", flags, total=240)
    run = train(tmp_path / "run", flags, total=90)
    resume(run, total=150)
    resume(run, total=240)
    assert_same_run(run, unbroken)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An unbroken run of 240 steps, and its first 90 steps."""
    folder, flags = tmp_path_factory.mktemp("pieces"), [*MAZE, "--a2c.learning-rate-decay=0"]
    return train(folder / "unbroken", flags, total=240), train(folder / "run", flags, total=90)


@pytest.mark.skipif(torch.cuda.is_available(), reason="auto is the GPU here")
@pytest.mark.parametrize(
    ("own", "flag", "is_told"),
    [
        ("cuda", "cpu", True),
        ("cuda:1", "auto", True),
        ("cpu", "cpu", False),
        ("cpu", "auto", False),
        ("auto", "cpu", False),
    ],
)
def test_a_run_is_resumed_on_another_device(
    own: str,
    flag: str,
    is_told: bool,
    pieces: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Otherwise a run of a machine with a GPU ends there, or its own setting is lost.

    There is no GPU: the run is trained on the CPU, and another device written into its config.
    """
    unbroken, begun = pieces
    run = shutil.copytree(begun, tmp_path / "run")
    config = (run / "config.json").read_text().replace('"device": "cpu"', f'"device": "{own}"')
    (run / "config.json").write_text(config)
    capsys.readouterr()
    resume(run, 150, "--device", flag)
    told = f"continues on cpu instead of the run's own {own}, so its numbers"
    assert (told in capsys.readouterr().err) == is_told
    resume(run, 240, "--device", flag)
    assert (run / "config.json").read_text() == config
    assert f'"device": "{own}"' in config
    assert_same_run(run, unbroken)


def test_what_is_compared_differs_with_the_seed(tmp_path: Path) -> None:
    """Otherwise the comparison of runs does not detect a difference."""
    one = train(tmp_path / "one", MAZE, total=60)
    other = train(tmp_path / "other", [*MAZE, "--seed", "1"], total=60)
    with pytest.raises(AssertionError, match="policy"):
        assert_same_run(one, other)
    assert rows(one) != rows(other)
    assert scalars(one) != scalars(other)


def test_a_resumed_run_adds_to_the_time(tmp_path: Path) -> None:
    """Otherwise time and speed of a resumed run count only its last part."""
    run = train(tmp_path / "run", MAZE, total=60)
    newest = latest_checkpoint(run / "checkpoints")
    content = load_checkpoint(newest)
    content["elapsed"] = 1000.0  # as if the first piece had taken so long
    save_checkpoint(newest.parent, 60, content)
    resume(run, total=120)
    lines = read_metrics(run / "metrics.jsonl")
    assert [line["time/iterations"] for line in lines] == [1, 2, 3, 4]
    assert [line["time/total_timesteps"] for line in lines] == [30, 60, 90, 120]
    assert all(line["time/time_elapsed"] >= 1000 for line in lines[2:])
    assert all(line["time/fps"] == 0 for line in lines[2:])  # 120 steps in 1000 seconds
    assert load_checkpoint(latest_checkpoint(run / "checkpoints"))["elapsed"] > 1000


def start(argv: list[str], before: str = "") -> "subprocess.Popen[str]":
    """Start ``train_rl.py`` as a process, in which the code ``before`` is run first."""
    imports = "import sys\nfrom plasticrl.commands import run_command"
    code = f"{imports}\n{before}\nsys.exit(run_command('train'))"
    return subprocess.Popen(
        [sys.executable, "-c", code, *argv],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_resume_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    """Otherwise Ctrl-C, a scheduler or a closed terminal loses work."""
    run = tmp_path / "run"
    # Only the signal saves a checkpoint. A decay of the learning rate depends on the total.
    flags = [*MAZE, "--checkpoint-every", "1000000", "--a2c.learning-rate-decay=0"]
    process = start([*flags, "--total-timesteps", "1000000000", "--run-dir", str(run)])
    while process.poll() is None and not (run / "metrics.jsonl").exists():
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == 130
    assert out == ""
    assert f"run directory: {run}" in err.splitlines()
    again = f", because of {number.name}; a second one"
    if number == signal.SIGINT:
        again = "; Ctrl-C again"
    assert f"stopping after this update{again} stops at once, without saving" in err
    last = err.splitlines()[-1]
    assert last.startswith("interrupted; saved up to step_")
    assert last.endswith(f"plasticrl train --resume {run}")
    (checkpoint,) = (run / "checkpoints").iterdir()
    total = load_checkpoint(checkpoint)["num_timesteps"] + 60
    resume(run, total)
    assert_same_run(run, train(tmp_path / "unbroken", flags, total))


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """Otherwise metrics logged after the checkpoint appear twice, or the run is lost."""
    run = tmp_path / "run"
    # Killed in the update after step 210, which is logged; the last checkpoint is of step 180.
    kill = """
import os, signal
from plasticrl.agents import RecurrentA2C
train = RecurrentA2C.train
def killed(model):
    train(model)
    if model.num_timesteps == 210:
        os.kill(os.getpid(), signal.SIGKILL)
RecurrentA2C.train = killed
"""
    process = start([*MAZE, "--total-timesteps", "300", "--run-dir", str(run)], before=kill)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert rows(run)[-1]["step"] == 210
    assert latest_checkpoint(run / "checkpoints").name == "step_000000000180.pt"
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 24')  # a line that was being written
    resume(run)
    assert_same_run(run, train(tmp_path / "unbroken", MAZE, total=300))


@pytest.fixture
def ctrl_c_counts() -> Iterator[None]:
    """Handle Ctrl-C, which background jobs of a shell without job control ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_counts")
def test_a_second_ctrl_c_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a long update cannot be stopped, or half of it is saved."""
    before = signal.getsignal(signal.SIGINT)

    def pressed_twice(self: RecurrentA2C) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("went on after the second Ctrl-C")

    monkeypatch.setattr(RecurrentA2C, "train", pressed_twice)
    argv = [*MAZE, "--total-timesteps", "300", "--run-dir", str(tmp_path / "run")]
    assert train_main(argv) == 130
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_an_environment_without_saved_state_begins_new_episodes(tmp_path: Path) -> None:
    """Otherwise a run in an environment of other packages cannot be resumed."""
    flags = ["maze-quickstart", *SIZES, "--env-id=CartPole-v1", "--history", "--core.name=lstm"]
    run = train(tmp_path / "run", flags, total=60)
    before = load_checkpoint(latest_checkpoint(run / "checkpoints"))
    resume(run, total=120)
    after = load_checkpoint(latest_checkpoint(run / "checkpoints"))
    assert [row["step"] for row in rows(run)] == [30, 60, 90, 120]
    assert [row["train/n_updates"] for row in rows(run)[1:]] == [1, 2, 3]
    assert not same(before["policy"], after["policy"])
    assert after["n_updates"] == 4


@pytest.mark.parametrize(
    "flags",
    [
        # Without a gradient through time, alpha has no gradient and no state in Adam.
        ("--core.name=plastic_lstm", "--a2c.bptt-length=1"),
        ("--core.modulation=retroactive", "--a2c.bptt-length=2"),
        # The explained variance of constant returns is NaN.
        ("--env-id=CartPole-v1", "--a2c.gamma=0"),
        ("--n-envs=1", "--a2c.n-steps=1"),
    ],
)
def test_what_a_run_saves_is_what_it_accepts(flags: tuple[str, ...], tmp_path: Path) -> None:
    """Otherwise a run could not be resumed from its own checkpoint."""
    run = train(tmp_path / "run", ["maze-quickstart", *SIZES, *flags], total=60)
    resume(run, total=120)


def test_a_clock_that_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the training time is negative, and the checkpoint is rejected."""
    now, started = time.time(), time.monotonic()
    monkeypatch.setattr(time, "time", lambda: now - 100 * (time.monotonic() - started))
    run = train(tmp_path / "run", MAZE, total=60)
    assert load_checkpoint(latest_checkpoint(run / "checkpoints"))["elapsed"] > 0
    resume(run, total=120)
