"""``plasticrl sweep``: presets x seeds x settings, trained side by side by Ray.

The folders of the runs are the only record. A sweep that is called again resumes what was
interrupted, begins what is missing, and leaves finished runs as they are.
"""

import math
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from plasticrl.agents.training.config import TrainConfig
from plasticrl.commands.parse import parse_flags
from plasticrl.commands.plot import METRIC_LABELS, Axes, axes_of, draw_curves, read_curves
from plasticrl.commands.program import (
    FAILED,
    INTERRUPTED,
    command_line,
    import_from_here,
    run_command,
    say,
)
from plasticrl.commands.progress import ProgressBar
from plasticrl.commands.seeds import SEEDS
from plasticrl.commands.trials import Trial, expand
from plasticrl.runs import FolderLock, RunDirectory, RunError, UsageError
from plasticrl.runs.directory import CONFIG_NAME
from plasticrl.viewer.errors import ViewerError

if TYPE_CHECKING:
    from plasticrl.viewer.averaging import Curve

POLL_SECONDS = 2.0
"""Seconds between two looks at the runs."""
LOCK_SECONDS = 60.0
"""Seconds for which a run waits for another process that trains it. After the sweep was killed, its
workers need some seconds to end."""
SAVING_SECONDS = 120.0
"""Seconds that interrupted runs have to save a checkpoint."""
MAX_RETRIES = 3
"""How often Ray begins a run again whose worker was lost."""
ATTEMPT = "the sweep begins this run, or continues it"
"""The line of a log with which an attempt begins."""
SLOT = "run"
"""The resource of Ray that limits the number of runs at the same time on this machine."""


@dataclass(frozen=True, kw_only=True)
class SweepArguments:
    """Train every combination of presets, seeds and settings, side by side, with Ray."""

    presets: tyro.conf.Positional[tuple[str, ...]] = ()
    """Presets of plasticrl train."""
    seeds: Annotated[tuple[int, ...], SEEDS] = (0, 1, 2)
    """Seeds of the runs, such as 0..4 (with both ends) or 0 1 5."""
    vary: tuple[str, ...] = ()
    """Settings and their values, such as core.modulation=none,simple env_kwargs.size=9,11. All
    combinations are trained. A setting with one value is the same in all runs."""
    sweep_dir: Path | None = None
    """Folder of the sweep. By default logs/sweep-PRESETS."""
    address: str | None = None
    """Address of a Ray cluster, such as auto or ray://HOST:10001. Its machines need plasticrl and
    the folder of the sweep. By default, the runs are trained on this machine."""
    workers: int | None = None
    """Number of runs that are trained at the same time on this machine. By default, as many as its
    cores allow with the runs' number of threads."""
    gpus_per_run: float = 0.0
    """Part of a GPU that Ray reserves for each run, for runs with device=cuda."""


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    command = command_line("sweep")
    arguments = parse_flags(SweepArguments, argv, prog=command)
    _check(arguments, command)
    folder = arguments.sweep_dir or Path("logs") / f"sweep-{'+'.join(arguments.presets)}"
    trials = expand(arguments.presets, arguments.seeds, arguments.vary, folder.absolute())
    for trial in trials:
        import_from_here(_modules(trial))
    missing = [trial for trial in trials if not trial.is_finished]
    n_begun = sum(trial.has_begun for trial in missing)
    runs = "1 run" if len(trials) == 1 else f"{len(trials)} runs"
    say(
        f"{runs} in {folder}: {len(trials) - len(missing)} finished, {n_begun} to resume, "
        f"{len(missing) - n_begun} to begin"
    )
    status = train_all(missing, arguments) if missing else 0
    if finished := [trial for trial in trials if trial.is_finished]:
        _summarize(finished, folder)
    if status == INTERRUPTED:
        say(f"interrupted; to continue, repeat: {command} {shlex.join(argv)}")
    return status


def _check(arguments: SweepArguments, command: str) -> None:
    """Raise ``UsageError`` for flags that are missing, out of range or contradict each other."""
    gpus = arguments.gpus_per_run
    if not arguments.presets:
        raise UsageError(f"name presets first, as in: {command} maze-quickstart --seeds 0..4")
    if arguments.workers is not None and arguments.workers < 1:
        raise UsageError(f"--workers must be at least 1, not {arguments.workers}")
    if arguments.workers is not None and arguments.address is not None:
        raise UsageError("--workers is for this machine: leave it out with --address")
    if not (0 <= gpus <= 1 or (gpus > 1 and gpus == math.floor(gpus) and math.isfinite(gpus))):
        raise UsageError(
            f"--gpus-per-run must be from 0 to 1, or a whole number of GPUs, not {gpus}"
        )


def _modules(trial: Trial) -> tuple[str, ...]:
    """The modules that a trial's config names."""
    return tuple(trial.config.modules) if isinstance(trial.config, TrainConfig) else ()


def _make_log_folders(trials: Sequence[Trial]) -> None:
    for trial in trials:
        try:
            trial.log_path.parent.mkdir(parents=True, exist_ok=True)
            trial.log_path.touch()
        except OSError as error:
            raise UsageError(
                f"--sweep-dir: cannot write {trial.log_path}: {error.strerror or error}"
            ) from error


def train_all(trials: Sequence[Trial], arguments: SweepArguments) -> int:
    """Train the trials with Ray, show their progress, and return the exit status."""
    running: dict[Any, Trial] = {}
    failed: list[Trial] = []
    status = 0
    with _ray(arguments, trials) as ray:
        _make_log_folders(trials)
        remote = ray.remote(max_calls=1, max_retries=MAX_RETRIES)(train_trial)
        try:
            for trial in trials:
                options = _needs(trial, arguments) | {"name": trial.name}
                running[remote.options(**options).remote(trial, str(Path.cwd()))] = trial
            _watch(ray, running, failed)
        except KeyboardInterrupt:
            say("saving the runs in progress ...")
            for reference in running:
                ray.cancel(reference)
            ray.wait(list(running), num_returns=len(running), timeout=SAVING_SECONDS)
            status = INTERRUPTED
    for trial in failed:
        say(f"failed: {trial.name}: {_last_line(trial.log_path)}; its messages: {trial.log_path}")
    return status or (FAILED if failed else 0)


def _needs(trial: Trial, arguments: SweepArguments) -> dict[str, Any]:
    """What Ray reserves for a run."""
    slots = {SLOT: 1} if arguments.workers is not None else {}
    cpus = 0 if arguments.workers is not None else trial.config.threads
    return {"num_cpus": cpus, "num_gpus": arguments.gpus_per_run, "resources": slots}


@contextmanager
def _ray(arguments: SweepArguments, trials: Sequence[Trial]) -> Iterator[Any]:
    """Start Ray on this machine, or connect to a cluster; yield the module ``ray``."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use by network
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            'a sweep needs Ray, the extra "sweep": pip install "plasticrl[sweep]"'
        ) from error

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    threads = max(trial.config.threads for trial in trials)
    if arguments.address is None:
        quiet |= {"num_cpus": max(_n_cores(), threads), "include_dashboard": False}
        if arguments.workers is not None:
            quiet["resources"] = {SLOT: arguments.workers}
        say("starting Ray ...")
    address = arguments.address or "local"
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, OSError, RuntimeError) as error:
        said = str(error).partition("\n")[0]
        raise UsageError(f"Ray cannot start at --address {address}: {said}") from error
    try:
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        _check_resources(nodes, threads, arguments.gpus_per_run)
        # Ray has a handler of its own, which would end the process without saving.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        yield ray
    finally:
        ray.shutdown()


def _n_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_resources(nodes: Sequence[dict[str, Any]], threads: int, gpus: float) -> None:
    """Raise ``UsageError`` if no machine has the cores and GPUs of a run, else Ray would wait."""
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(m.get("CPU", 0) >= threads and m.get("GPU", 0) >= gpus for m in machines):
        raise UsageError(
            f"no machine of Ray has what a run needs, threads={threads} and GPUs={gpus:g}: change "
            "--gpus-per-run, or the runs' threads"
        )


def _watch(ray: Any, running: dict[Any, Trial], failed: list[Trial]) -> None:
    """Show the progress until all runs have ended.

    Args:
        running: the trials by Ray's references to their results. Those that end are removed.
        failed: the trials that fail are added here.
    """
    n_trials = len(running)
    done = {trial.path: trial.n_done() for trial in running.values()}
    bar, total = ProgressBar(), sum(trial.n_steps for trial in running.values())
    bar.start("sweep", "steps", sum(done.values()), total)
    try:
        while running:
            ended, _ = ray.wait(list(running), timeout=POLL_SECONDS)
            for trial in running.values():
                done[trial.path] = trial.n_done()
            for reference in ended:
                trial = running.pop(reference)
                said = "trained"
                if _status(ray, reference, trial):
                    said = "failed"
                    failed.append(trial)
                else:
                    done[trial.path] = trial.n_steps
                bar.notify(f"{said}: {trial.name} ({n_trials - len(running)} of {n_trials})")
            bar.update(sum(done.values()), f"{n_trials - len(running)} of {n_trials} runs ended")
    finally:
        bar.stop()


def _status(ray: Any, reference: Any, trial: Trial) -> int:
    """The exit status of an ended run. An error of Ray's, or of ours, is added to the run's log."""
    try:
        status: int = ray.get(reference)
    except ray.exceptions.RayError as error:
        with trial.log_path.open("a") as log:
            print(error, file=log)
        return FAILED
    return status


def train_trial(trial: Trial, folder: str) -> int:
    """Train or continue a run, in a process of Ray's, and return the exit status.

    All messages go to the trial's log.

    Args:
        folder: the folder in which the sweep was called, for modules of the user.
    """
    if Path(folder).is_dir():
        os.chdir(folder)
    log = os.open(trial.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    print(ATTEMPT, file=sys.stderr, flush=True)
    sys.argv[:] = ["plasticrl"]
    import_from_here(_modules(trial))
    lock = _lock(trial.path)
    if trial.has_begun:
        words = ["--resume", str(trial.path)]
        words += ["--allow-import", *_modules(trial)] if _modules(trial) else []
    else:
        if (trial.path / CONFIG_NAME).exists():  # interrupted before its first checkpoint
            RunDirectory.open(trial.path).discard()
        words = [trial.preset, *trial.flags, "--run-dir", str(trial.path)]
    if lock is not None:
        lock.release()
    return run_command("train", words)


def _lock(path: Path) -> FolderLock | None:
    """Lock the folder of a run, if it exists, as soon as no other process trains the run.

    Raises:
        RunError: another process still trains it after ``LOCK_SECONDS``.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while path.is_dir():
        try:
            return FolderLock(path)
        except RunError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)
    return None


def _last_line(log: Path) -> str:
    """The line of a log that says why the last attempt failed: its error, or else its last line."""
    attempt = log.read_text(errors="replace").rpartition(ATTEMPT)[2]
    lines = [line for line in attempt.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or ["no message"])[-1].removeprefix("error: ")


def _summarize(trials: Sequence[Trial], folder: Path) -> None:
    """Print a table of the finished runs, and draw their curves."""
    names = dict.fromkeys(name for trial in trials for name in trial.settings)
    by = tuple(n for n in names if len({trial.settings.get(n) for trial in trials}) > 1)
    try:
        runs = [RunDirectory.open(trial.path) for trial in trials]
        for kind in dict.fromkeys(run.kind for run in runs):
            group = [run for run in runs if run.kind == kind]
            axes = axes_of(group)
            curves = read_curves(group, axes.metric, by, "mean")
            Console().print(_table(curves, axes))
            draw_curves(curves, folder / f"curves-{kind}.png", axes.steps, axes.metric, "mean")
    except (UsageError, ViewerError) as error:
        say(f"note: no table or curves of all runs: {error}")


def _table(curves: "Sequence[Curve]", axes: Axes) -> Table:
    """A table with a row for each curve: its last mean, with the interval over the seeds."""
    table = Table(title=f"{METRIC_LABELS.get(axes.metric, axes.metric)} at the end")
    table.add_column("runs")
    for title in ("seeds", "mean", "95 % interval", axes.steps):
        table.add_column(title, justify="right")
    for curve in curves:
        interval = "-"
        if curve.low is not None and curve.high is not None:
            interval = f"{curve.low[-1]:.4g} to {curve.high[-1]:.4g}"
        mean, steps = f"{curve.center[-1]:.4g}", f"{curve.steps[-1]:,.0f}"
        table.add_row(curve.label, str(len(curve.runs)), mean, interval, steps)
    return table
