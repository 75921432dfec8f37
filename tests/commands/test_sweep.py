"""``plasticrl sweep``: which runs it makes, what it refuses, and that it survives kills."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from plasticrl.commands import run_command
from plasticrl.commands.trials import expand
from plasticrl.runs import UsageError

TINY = (
    *("core.name=gru", "core.hidden_size=4", "env_kwargs.size=5", "n_envs=2", "a2c.n_steps=10"),
    "checkpoint_every=10",
)
"""Settings of a run that takes seconds and compiles nothing."""


def test_the_runs_are_all_combinations(tmp_path: Path):
    trials = expand(
        ["maze-quickstart", "cue-reward-quickstart"],
        [0, 2],
        ["core.modulation=none,simple", "core.hidden-size=8"],
        tmp_path,
    )
    found = [
        (t.preset, t.config.core.modulation, t.seed, str(t.path.relative_to(tmp_path)))
        for t in trials
    ]
    assert found == [
        (
            preset,
            modulation,
            seed,
            f"{preset}/core.modulation={modulation}/core.hidden_size=8/seed{seed}",
        )
        for preset in ("maze-quickstart", "cue-reward-quickstart")
        for modulation in ("none", "simple")
        for seed in (0, 2)
    ]
    assert {t.config.core.hidden_size for t in trials} == {8}
    assert [t.config.seed for t in trials] == [t.seed for t in trials]


def test_booleans_environments_and_tasks(tmp_path: Path):
    trials = expand(
        ["maze-quickstart"], [0], ["core.fan_out=true,false", "env_kwargs.size=9,11"], tmp_path
    )
    found = [(t.config.core.fan_out, t.config.env_kwargs["size"]) for t in trials]
    assert found == [(True, 9), (True, 11), (False, 9), (False, 11)]
    trials = expand(["maze-quickstart"], [0], ["a2c.net_arch=4 3,8"], tmp_path)
    assert [t.config.a2c.net_arch for t in trials] == [(4, 3), (8,)]
    (task,) = expand(["patterns-quickstart"], [3], ["n_updates=7"], tmp_path)
    assert (task.config.n_updates, task.config.seed) == (7, 3)
    assert task.n_steps == 7 * task.config.batch_size


REFUSED = {
    (): "name presets first",
    ("maze",): "no preset 'maze': did you mean maze-quickstart?",
    ("maze-quickstart", "maze-quickstart"): "a preset is given twice",
    ("maze-quickstart", "--vary", "core.modulation"): "--vary takes NAME=VALUE,VALUE,...",
    ("maze-quickstart", "--vary", "core.modulation=none,"): "--vary takes NAME=VALUE,VALUE,...",
    ("maze-quickstart", "--vary", "core.modulatio=none"): "did you mean --core.modulation",
    ("maze-quickstart", "--vary", "core.modulation=nine"): "must be one of none, simple",
    (
        "maze-quickstart",
        "--vary",
        "core.modulation=none,none",
    ): "lists a value of core.modulation twice",
    ("maze-quickstart", "--vary", "a2c.gamma=.5", "a2c.gamma=.6"): "names a2c.gamma twice",
    ("maze-quickstart", "--vary", "seed=1,2"): "--vary cannot change seed",
    ("maze-quickstart", "--vary", "distributed=true"): "--vary cannot change distributed",
    ("maze-quickstart", "--vary", "n_envs=0"): "--n-envs must be an integer of at least 1",
    ("maze-quickstart", "--vary", "a2c.gamma=.5,0.5"): "are the same run",
    ("maze-quickstart", "--seeds", "3..1"): "must count upward",
    ("maze-quickstart", "--workers", "0"): "--workers must be at least 1",
    ("maze-quickstart", "--gpus-per-run", "-1"): "--gpus-per-run must be from 0 to 1",
    ("maze-quickstart", "--gpus-per-run", "1.5"): "--gpus-per-run must be from 0 to 1",
    ("maze-quickstart", "--gpus-per-run", "nan"): "--gpus-per-run must be from 0 to 1",
    ("maze-quickstart", "--workers", "1", "--address", "auto"): "leave it out with --address",
    ("a2c",): "a2c needs --env-id",
}


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_mistakes_are_refused_before_anything_is_written(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert run_command("sweep", words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert REFUSED[words] in said
    assert not any(tmp_path.iterdir())


def test_a_folder_with_other_settings_is_refused(tmp_path: Path):
    (trial,) = expand(["maze-quickstart"], [0], [], tmp_path)
    assert (
        run_command(
            "train",
            [
                trial.preset,
                "--total-timesteps=2",
                "--n-envs=1",
                "--a2c.n-steps=2",
                "--core.name=gru",
                "--run-dir",
                str(trial.path),
            ],
        )
        == 0
    )
    with pytest.raises(
        UsageError, match=r"a run with other settings \(.*total_timesteps.*--sweep-dir"
    ):
        expand(["maze-quickstart"], [0], [], tmp_path)


def test_a_run_from_before_an_option_existed_belongs_to_the_sweep(tmp_path: Path) -> None:
    """Otherwise an update of plasticrl makes a sweep unusable."""
    (trial,) = expand(["maze-quickstart"], [0], [*TINY, "total_timesteps=20"], tmp_path)
    assert run_command("train", [trial.preset, *trial.flags, "--run-dir", str(trial.path)]) == 0
    file = trial.path / "config.json"
    contents = json.loads(file.read_text())
    del contents["config"]["a2c"]["ent_coef_decay"]
    file.write_text(json.dumps(contents))
    trial.check_folder()
    contents["config"]["a2c"]["gamma"] = 0.5
    file.write_text(json.dumps(contents))
    with pytest.raises(UsageError, match=r"a run with other settings \(a2c\)"):
        trial.check_folder()


class Sweep:
    """A sweep in a process of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        command = [
            sys.executable,
            "-c",
            "import sys; from plasticrl.commands import main; sys.exit(main())",
            "sweep",
            *words,
        ]
        self.messages = folder / "messages.txt"
        with self.messages.open("w") as file:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=file, stderr=file, start_new_session=True
            )

    def end(self) -> str:
        """Wait until the process ends, and return what it printed."""
        self.process.wait(timeout=300)
        return self.messages.read_text()

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def workers(folder: Path) -> list[int]:
    """The processes of Ray that train the runs of the sweep that was called in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            is_here = path.with_name("cwd").readlink() == folder
            if is_here and b"ray::maze-quickstart" in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # it has ended
            continue
    return found


def n_checkpoints(run: Path) -> int:
    return len(list((run / "checkpoints").glob("*.pt")))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it finds processes in /proc")
def test_killed_workers_and_a_killed_sweep_lose_nothing(tmp_path: Path):
    words = ("maze-quickstart", "--seeds", "0..1", "--vary", *TINY, "total_timesteps=30000")
    words += ("--sweep-dir", "runs", "--workers", "1")
    folder = tmp_path.joinpath("runs", "maze-quickstart", *TINY, "total_timesteps=30000")
    first, second = folder / "seed0", folder / "seed1"
    sweep = Sweep(tmp_path, *words)
    try:
        wait_for(lambda: n_checkpoints(first))
        (worker,) = workers(tmp_path)
        os.kill(worker, signal.SIGKILL)
        # Ray trains the second run, and then resumes the first.
        wait_for(lambda: first.with_name("seed0.log").read_text().count("run directory:") == 2)
    finally:
        sweep.stop()
    assert "trained 30,000 steps" in second.with_name("seed1.log").read_text()
    before = (second / "metrics.jsonl").read_bytes()

    said = Sweep(tmp_path, *words).end()
    assert "2 runs in runs: 1 finished, 1 to resume, 0 to begin" in said
    assert re.search(r"maze-quickstart +│ +2 │", said), said  # the row of the table
    assert (tmp_path / "runs" / "curves-rl.png").stat().st_size > 1000
    assert (second / "metrics.jsonl").read_bytes() == before
    assert json.loads((first / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 30000

    assert "2 runs in runs: 2 finished, 0 to resume, 0 to begin" in Sweep(tmp_path, *words).end()


@pytest.mark.slow
def test_a_failed_run_is_named_and_the_others_are_trained(tmp_path: Path):
    words = ("maze-quickstart", "--seeds", "0..1", "--vary", *TINY, "total_timesteps=200")
    folder = tmp_path.joinpath("logs", "sweep-maze-quickstart", "maze-quickstart", *TINY)
    blocked = folder / "total_timesteps=200" / "seed0"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file in the place of the run")
    sweep = Sweep(tmp_path, *words)
    said = sweep.end()
    assert sweep.process.returncode == 1
    assert re.search(r"failed: maze-quickstart .*seed 0: cannot start a run in .*/seed0", said), (
        said
    )
    assert "seed 1 (2 of 2)" in said or "seed 1 (1 of 2)" in said
    assert blocked.read_text() == "a file in the place of the run"
