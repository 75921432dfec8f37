"""Runs on disks that are full or read-only, and runs whose folder goes away."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from plasticrl.agents.recurrent_a2c import RecurrentA2C
from plasticrl.commands import run_command
from plasticrl.runs import MetricsLog, read_metrics

SIZES = ("--n-envs=2", "--a2c.n-steps=5", "--core.hidden-size=4", "--checkpoint-every=20")
AGENT = ("maze-quickstart", *SIZES, "--total-timesteps=20000")
NET = ("bohp-quickstart", "--n-updates=10000", "--batch-size=2", "--no-controls")
N_ROWS = 5
"""Number of lines of metrics after which a test interferes with the run."""

train = partial(run_command, "train")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 KiB. Only root can mount it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a disk can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise a run ends in a traceback, or what was saved before is lost."""
    run = disk / "run"
    assert train([*AGENT, "--run-dir", str(run)]) == 2
    *_, error, note = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: cannot write {run}")
    assert error.endswith(": No space left on device")
    last = max((run / "checkpoints").iterdir())
    assert note.startswith(f"saved up to {last.name}; continue with: ")
    subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
    total = int(last.stem.partition("_")[2]) + 100
    assert train([f"--resume={run}", f"--total-timesteps={total}"]) == 0
    assert read_metrics(run / "metrics.jsonl")[-1]["step"] == total


def test_a_disk_that_is_read_only(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the user does not learn why, or a measurement is lost with the file."""
    run = disk / "run"
    assert train([*AGENT, "--total-timesteps=100", "--run-dir", str(run)]) == 0
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for argv, failed in [
        ([f"--resume={run}", "--total-timesteps=200"], f"cannot write {run / 'metrics.jsonl'}"),
        ([*AGENT, f"--run-dir={disk / 'other'}"], f"cannot start a run in {disk / 'other'}"),
    ]:
        capsys.readouterr()
        assert train(argv) == 2
        assert f"error: {failed}: Read-only file system\n" in capsys.readouterr().err
    assert run_command("evaluate", [str(run), "--episodes=2"]) == 2
    out, err = capsys.readouterr()
    assert "random walk" in out
    assert f"error: cannot write {run / 'evaluation.json'}: Read-only file system\n" in err


@pytest.mark.parametrize("argv", [AGENT, NET])
@pytest.mark.parametrize("move", [shutil.move, lambda run, _: shutil.rmtree(run)])
def test_a_run_that_goes_away_while_it_is_trained(
    argv: tuple[str, ...],
    move: Callable[[Path, Path], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Otherwise the rest of the run is written to a second folder, or the error is unclear."""
    run, append, n_rows = tmp_path / "run", MetricsLog.append, 0

    def counted(*arguments: object) -> None:
        nonlocal n_rows
        append(*arguments)  # type: ignore[arg-type]
        n_rows += 1
        if n_rows == N_ROWS:
            move(run, tmp_path / "moved")

    monkeypatch.setattr(MetricsLog, "append", counted)
    assert train([*argv, "--run-dir", str(run)]) == 2
    *_, error, note = capfd.readouterr().err.splitlines()
    assert error.startswith(f"error: cannot write {run}")
    assert error.endswith(": No such file or directory")
    assert note.startswith(f"{run} is no longer there")
    assert not run.exists()


def test_a_disk_that_is_full_from_the_start(disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """TensorBoard's first write fails, before the training begins."""
    (disk / "large").write_bytes(bytes(290 * 1024))
    assert train([*AGENT, "--run-dir", str(disk / "run")]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert [line for line in lines if line.endswith(": No space left on device")]
    assert not any("Traceback" in line for line in lines)


def test_a_checkpoint_that_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the checkpoint before it is lost, or the user does not learn of it."""
    run, fsync, n_calls = tmp_path / "run", os.fsync, 0

    def failing(descriptor: int) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls > 6:  # a file and its folder: the config and two checkpoints
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    assert train([*AGENT, "--run-dir", str(run)]) == 2
    *_, error, note = capsys.readouterr().err.splitlines()
    assert error.endswith("step_000000000600.pt: No space left on device")
    assert note.startswith("saved up to step_000000000400.pt; continue with: ")
    assert len(list((run / "checkpoints").iterdir())) == 2


def replace_tensorboard(run: Path) -> None:
    shutil.rmtree(run / "tensorboard")
    (run / "tensorboard").touch()


def test_a_file_in_the_place_of_tensorboard(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the user sees a traceback of TensorBoard's."""
    run = tmp_path / "run"
    assert train([*AGENT, "--total-timesteps=100", "--run-dir", str(run)]) == 0
    replace_tensorboard(run)
    capfd.readouterr()
    assert train([f"--resume={run}", "--total-timesteps=20000"]) == 2
    (error,) = capfd.readouterr().err.splitlines()
    assert error == f"error: cannot write {run / 'tensorboard'}: File exists"


def test_tensorboard_fails_in_its_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the user sees only the traceback of a thread."""
    run, update = tmp_path / "run", RecurrentA2C.train

    def spoiling(model: RecurrentA2C) -> None:
        if model.num_timesteps == 300:
            replace_tensorboard(run)
        update(model)

    monkeypatch.setattr(RecurrentA2C, "train", spoiling)
    assert train([*AGENT, "--run-dir", str(run)]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "elapsed" not in line]
    assert lines[-2].startswith(f"error: cannot write {run / 'tensorboard'}: ")
    assert lines[-1].startswith("saved up to step_000000000200.pt; continue with: ")
    assert not any("Traceback" in line for line in lines)
    monkeypatch.undo()
    os.remove(run / "tensorboard")
    assert train([f"--resume={run}", "--total-timesteps=500"]) == 0
