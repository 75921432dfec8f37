"""``plasticrl sweep``: presets x seeds x settings, trained side by side by Ray.

The folders of the runs are the only record. A sweep that is called again resumes what was
interrupted, begins what is missing, and leaves finished runs as they are.
"""

import os
import shlex
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

POLL = 0.5
"""Seconds between two looks at the runs."""
LOCK_PATIENCE = 60.0
"""Seconds for which a run waits until a process that has lost its sweep has ended."""
END_PATIENCE = 120.0
"""Seconds that interrupted runs have to save a checkpoint."""
MOST_RETRIES = 3
"""How often Ray begins a run again whose worker was lost."""


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
    arguments = parse_flags(SweepArguments, argv, prog=command_line("sweep"))
    command = command_line("sweep")
    if not arguments.presets:
        raise UsageError(f"name presets first, as in: {command} maze-quickstart --seeds 0..4")
    if arguments.workers is not None and arguments.workers < 1:
        raise UsageError(f"--workers must be at least 1, not {arguments.workers}")
    if arguments.workers is not None and arguments.address is not None:
        raise UsageError("--workers is for this machine: leave it out with --address")
    if arguments.gpus_per_run < 0:
        raise UsageError(f"--gpus-per-run must be at least 0, not {arguments.gpus_per_run}")
    folder = arguments.sweep_dir or Path("logs") / f"sweep-{'+'.join(arguments.presets)}"
    trials = expand(arguments.presets, arguments.seeds, arguments.vary, folder.absolute())
    for trial in trials:
        import_from_here(_modules(trial))
    missing = [trial for trial in trials if not trial.is_finished]
    n_begun = sum(trial.has_begun for trial in missing)
    say(
        f"{len(trials)} runs in {folder}: {len(trials) - len(missing)} finished, {n_begun} to "
        f"resume, {len(missing) - n_begun} to begin"
    )
    status = 0
    if missing:
        _make_log_folders(missing)
        status = _train_all(missing, arguments)
    finished = [trial for trial in trials if trial.is_finished]
    if finished:
        _summarize(finished, folder)
    if status == INTERRUPTED:
        say(f"interrupted; the same command goes on: {command} {shlex.join(argv)}")
    return status


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


def _train_all(trials: Sequence[Trial], arguments: SweepArguments) -> int:
    """Train the trials with Ray, show their progress, and return the exit status."""
    with _ray(arguments, trials) as ray:
        remote = ray.remote(max_calls=1, max_retries=MOST_RETRIES)(train_trial)
        running = {}
        for trial in trials:
            options = {"num_cpus": trial.config.threads, "num_gpus": arguments.gpus_per_run}
            reference = remote.options(**options, name=trial.name).remote(trial, str(Path.cwd()))
            running[reference] = trial
        try:
            failed = _watch(ray, running, len(trials))
        except KeyboardInterrupt:
            say("saving the runs in progress ...")
            for reference in running:
                ray.cancel(reference)
            ray.wait(list(running), num_returns=len(running), timeout=END_PATIENCE)
            return INTERRUPTED
    for trial in failed:
        say(f"failed: {trial.name}: {_last_line(trial.log_path)}; its messages: {trial.log_path}")
    return FAILED if failed else 0


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
    if arguments.address is None:
        threads = max(trial.config.threads for trial in trials)
        n_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        n_cpus = max(n_cpus or os.cpu_count() or 1, threads)
        if arguments.workers is not None:
            n_cpus = arguments.workers * threads
        say("starting Ray ...")
        ray.init(address="local", num_cpus=n_cpus, include_dashboard=False, **quiet)
    else:
        try:
            ray.init(address=arguments.address, **quiet)
        except (ConnectionError, ValueError, OSError, RuntimeError) as error:
            said = str(error).partition("\n")[0]
            raise UsageError(f"--address {arguments.address}: {said}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _watch(ray: Any, running: dict[Any, Trial], n_trials: int) -> list[Trial]:
    """Show the progress until all runs have ended; return those that failed.

    Args:
        running: the trials by Ray's references to their results. Those that end are removed.
    """
    trials, failed = list(running.values()), list[Trial]()
    bar, total = ProgressBar(), sum(trial.n_steps for trial in trials)
    bar.start("sweep", "steps", sum(trial.n_done() for trial in trials), total)
    try:
        while running:
            ended, _ = ray.wait(list(running), timeout=POLL)
            for reference in ended:
                trial = running.pop(reference)
                status = _status(ray, reference, trial)
                if status:
                    failed.append(trial)
                said = "failed" if status else "trained"
                bar.notify(f"{said}: {trial.name} ({n_trials - len(running)} of {n_trials})")
            done = [trial.n_steps if trial.is_finished else trial.n_done() for trial in trials]
            bar.update(sum(done), f"{n_trials - len(running)} of {n_trials} runs ended")
    finally:
        bar.stop()
    return failed


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
    sys.argv[:] = ["plasticrl"]
    import_from_here(_modules(trial))
    _wait_until_free(trial.path)
    if trial.has_begun:
        words = ["--resume", str(trial.path)]
        words += ["--allow-import", *_modules(trial)] if _modules(trial) else []
    else:
        if (trial.path / CONFIG_NAME).exists():  # interrupted before its first checkpoint
            RunDirectory.open(trial.path).discard()
        words = [trial.preset, *trial.flags, "--run-dir", str(trial.path)]
    return run_command("train", words)


def _wait_until_free(path: Path) -> None:
    """Wait until no process trains the run, for example after the sweep's own process was killed.

    If another process still does after ``LOCK_PATIENCE``, the training reports it.
    """
    deadline = time.monotonic() + LOCK_PATIENCE
    while path.is_dir() and time.monotonic() < deadline:
        try:
            FolderLock(path).release()
            return
        except RunError:
            time.sleep(POLL)


def _last_line(log: Path) -> str:
    """The line of a log that says why a run failed: its last error, or else its last line."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or ["no message"])[-1].removeprefix("error: ")


def _summarize(trials: Sequence[Trial], folder: Path) -> None:
    """Print a table of the finished runs, and draw their curves."""
    runs = [RunDirectory.open(trial.path) for trial in trials]
    names = dict.fromkeys(name for trial in trials for name in trial.settings)
    by = tuple(n for n in names if len({trial.settings.get(n) for trial in trials}) > 1)
    for kind in dict.fromkeys(run.kind for run in runs):
        group = [run for run in runs if run.kind == kind]
        axes = axes_of(group)
        try:
            curves = read_curves(group, axes.metric, by, "mean")
            Console().print(_table(curves, axes))
            picture = folder / f"curves-{kind}.png"
            draw_curves(curves, picture, axes.steps, axes.metric, "mean")
        except (RunError, ViewerError) as error:
            say(f"note: no curves: {error}")


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
