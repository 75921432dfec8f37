"""Runs that are killed at every write or at random moments, and resumed, equal unbroken ones.

``python tests/test_kills.py 200`` crashes at every write, kills at more random moments, and prints
how often each run was killed and what differs.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from plasticrl.runs import latest_checkpoint, load_checkpoint, read_metrics

N_KILLS = 10
CRASHED = 9
"""Exit status of a crash at a write."""
SIZES = ("--n-envs=2", "--a2c.n-steps=5", "--core.hidden-size=4", "--checkpoint-every=2")
RUNS = {
    "maze": ("maze-quickstart", *SIZES, "--total-timesteps=200"),
    "curriculum": ("cue-reward-tuned", *SIZES, "--total-timesteps=200"),
    "CartPole": ("maze-quickstart", *SIZES, "--env-id=CartPole-v1", "--total-timesteps=200"),
    "bohp": ("bohp-quickstart", "--n-updates=40", "--batch-size=2", "--evaluation-episodes=3"),
}
REPEATS_BITS = ("maze", "curriculum", "bohp")
"""The state of a CartPole is not saved: a resumed run begins new episodes."""

FORKING = """
import json, os, sys
from pathlib import Path
import torch
from plasticrl.agents.training import callbacks, run
from plasticrl.commands import run_command
from plasticrl.runs.metrics import MetricsLog
from plasticrl.tasks import fitting, training

torch.set_num_threads(1)
fitting.SAVED_EVERY = 0.05
callbacks.EpisodePictures.__init__.__defaults__ = (4,)

def crash_at(number):
    count = 0
    def counted(function):
        def call(*arguments, **options):
            nonlocal count
            for _ in range(2):  # before and after
                count += 1
                if count == number:
                    os._exit(9)
                if count % 2:
                    result = function(*arguments, **options)
            return result
        return call
    os.fsync, os.replace = counted(os.fsync), counted(os.replace)
    Path.unlink = counted(Path.unlink)
    MetricsLog.append = counted(MetricsLog.append)
    run.flush = counted(run.flush)

for line in sys.stdin:
    argv, number = json.loads(line)
    child = os.fork()
    if not child:
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)
        crash_at(number)
        os._exit(run_command("train", argv))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Trainer:
    """Runs ``plasticrl train`` in processes that are forked from one with all imports done."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", FORKING],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def train(self, argv: list[str], crash_at: int = 0, kill_after: float | None = None) -> int:
        """The exit status, negative for a signal.

        Args:
            argv: the arguments.
            crash_at: end the process at this write, without cleaning up; 0 for never.
            kill_after: seconds after which it is killed; None for never.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([argv, crash_at]) + "\n")
        self._process.stdin.flush()
        child = int(self._process.stdout.readline())
        timer = threading.Timer(kill_after or 0, os.kill, (child, signal.SIGKILL))
        if kill_after is not None:
            timer.start()
        status = int(self._process.stdout.readline())
        timer.cancel()
        return status

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    one = Trainer()
    yield one
    one.close()


@pytest.fixture(scope="module")
def unbroken(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each run, trained without interruption."""
    folder = tmp_path_factory.mktemp("unbroken")
    for name, argv in RUNS.items():
        assert trainer.train([*argv, "--run-dir", str(folder / name)]) == 0
    return {name: folder / name for name in RUNS}


def has_checkpoint(run: Path) -> bool:
    return any(path.name.startswith("step_") for path in run.rglob("*.pt"))


def next_argv(name: str, run: Path) -> list[str]:
    """The user's command after a kill: resume, or start again if nothing was saved."""
    started = name == "bohp" and (run / "config.json").exists()  # it resumes without a checkpoint
    if started or has_checkpoint(run):
        wait_for_the_next_second(run)
        return ["--resume", str(run)]
    shutil.rmtree(run, ignore_errors=True)
    return [*RUNS[name], "--run-dir", str(run)]


def wait_for_the_next_second(run: Path) -> None:
    """TensorBoard sorts event files by the second in their names: move the old ones back."""
    for file in (run / "tensorboard").glob("events.*"):
        second = file.name.split(".")[3]
        file.rename(file.with_name(file.name.replace(second, str(int(second) - 100), 1)))


def differences(name: str, run: Path, unbroken: Path) -> list[str]:
    """Differences from an unbroken run: stray files, and numbers if the run must repeat them."""
    found = [f"stray {path}" for path in files(run) ^ files(unbroken)]
    if name not in REPEATS_BITS:
        return found
    for folder in sorted({path.parent for path in run.rglob("step_*.pt")}):
        one = load_checkpoint(latest_checkpoint(folder))
        other = load_checkpoint(latest_checkpoint(unbroken / folder.relative_to(run)))
        for content in (one, other):
            content["rng"] = content["rng"]["torch"]
        found += [
            f"{folder.name}: {key}"
            for key in one
            if key not in ("elapsed", "seconds") and not same(one[key], other[key])
        ]
    if rows(run) != rows(unbroken):
        found.append("metrics")
    if curves(run) != curves(unbroken):
        found.append("TensorBoard")
    return found


def files(run: Path) -> set[str]:
    paths = (str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
    return {"events" if "events" in path else path for path in paths}


def rows(run: Path) -> list[dict[str, Any]]:
    clock = re.compile("time/(fps|time_elapsed)")
    lines = read_metrics(run / "metrics.jsonl")
    return [{key: line[key] for key in line if not clock.match(key)} for line in lines]


def curves(run: Path) -> dict[str, Any]:
    """The curves and the steps of the pictures, as TensorBoard reads them."""
    if not (run / "tensorboard").exists():
        return {}
    events = EventAccumulator(str(run / "tensorboard"), {"images": 0}, purge_orphaned_data=True)
    events.Reload()
    tags = events.Tags()
    scalars = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in tags["scalars"]
        if tag != "time/fps"
    }
    return scalars | {tag: [event.step for event in events.Images(tag)] for tag in tags["images"]}


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize("name", ["maze", "bohp"])
def test_crashes_at_writes(
    name: str, trainer: Trainer, unbroken: dict[str, Path], tmp_path: Path
) -> None:
    """Otherwise a file is half written, or two files that belong together do not fit."""
    n_crashes, found = crash_and_resume(trainer, name, tmp_path / "run", unbroken[name], 6)
    assert n_crashes > 3
    assert found == []


def crash_and_resume(
    trainer: Trainer, name: str, run: Path, unbroken: Path, growth: int
) -> tuple[int, list[str]]:
    """Crash a run at one write after the other, and resume it each time.

    Args:
        trainer, name, run, unbroken: as elsewhere.
        growth: how much the distance between crashes grows each time; 0 crashes at every write.

    Returns:
        The number of crashes, and what differs from the unbroken run, by the write's number.
    """
    n_crashes, number, distance, found = 0, 1, 1, []
    while True:
        status = trainer.train([*RUNS[name], "--run-dir", str(run)], crash_at=number)
        if status == CRASHED:
            n_crashes += 1
            status = trainer.train(next_argv(name, run))
        else:
            number = 0
        found += [f"write {number}: {part}" for part in differences(name, run, unbroken)]
        if status:
            found.append(f"write {number}: exit status {status}")
        shutil.rmtree(run)
        if not number:
            return n_crashes, found
        number, distance = number + distance, distance + growth


@pytest.mark.parametrize("name", RUNS)
def test_kills_at_random_moments(
    name: str, trainer: Trainer, unbroken: dict[str, Path], tmp_path: Path
) -> None:
    """Otherwise what happens between two writes is lost."""
    kill_and_resume(trainer, name, tmp_path / "run", random.Random(0), -(-N_KILLS // len(RUNS)))
    assert differences(name, tmp_path / "run", unbroken[name]) == []


def kill_and_resume(trainer: Trainer, name: str, run: Path, rng: random.Random, most: int) -> int:
    """Train a run to its end, killing it at most ``most`` times; return the number of kills."""
    n_kills = 0
    while True:
        delay = rng.uniform(0.05, 1.0) if n_kills < most else None
        status = trainer.train(next_argv(name, run), kill_after=delay)
        if status == 0:
            return n_kills
        assert status == -signal.SIGKILL, f"exit status {status}"
        n_kills += 1


def main(n_kills: int) -> int:
    """Kill runs at random moments, and print how often and what differs from unbroken runs."""
    trainer, rng, total, n_different = Trainer(), random.Random(time.time_ns()), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        unbroken, run = {name: Path(folder) / name for name in RUNS}, Path(folder) / "run"
        for name, argv in RUNS.items():
            assert trainer.train([*argv, "--run-dir", str(unbroken[name])]) == 0
        while total < n_kills:
            for name in RUNS:
                n = kill_and_resume(trainer, name, run, rng, 8)
                found = differences(name, run, unbroken[name])
                print(f"{name}: killed {n} times, different: {found or 'nothing'}", flush=True)
                total, n_different = total + n, n_different + bool(found)
                shutil.rmtree(run)
        for name in REPEATS_BITS:
            n, found = crash_and_resume(trainer, name, run, unbroken[name], growth=0)
            print(f"{name}: crashed at {n} writes, different: {found or 'nothing'}", flush=True)
            n_different += bool(found)
    trainer.close()
    print(f"{total} kills, {n_different} runs that differ")
    return n_different


if __name__ == "__main__":
    sys.exit(min(main(int(sys.argv[1])), 1))
