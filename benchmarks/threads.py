"""A complete A2C iteration with one and with two threads, on idle and on busy cores."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from statistics import median

import torch

from benchmarks.iteration import (
    N_NEURONS,
    N_STEPS,
    QUICK_N_NEURONS,
    QUICK_N_STEPS,
    Case,
    Parts,
    learner,
)
from benchmarks.machine import usable_cores
from benchmarks.measuring import MILLI, Settings, in_turn
from benchmarks.report import Row, Table

N_ENVS, QUICK_N_ENVS = (30, 120, 480), (30,)
MOST_THREADS = 2
BUSY = "while True: pass"

NOTES = (
    "The numbers of threads alternate in one process, with one model.",
    "busy: another process keeps one core busy.",
)


def measure(settings: Settings) -> list[Table]:
    """One table; ``settings.threads`` is not used."""
    n_steps = QUICK_N_STEPS if settings.quick else N_STEPS
    n_neurons = QUICK_N_NEURONS if settings.quick else N_NEURONS
    before = torch.get_num_threads()
    try:
        rows = _rows(settings, n_steps, n_neurons)
    finally:
        torch.set_num_threads(before)
    title = f"GridMaze 9 x 9, {n_steps} steps, N = {n_neurons}, simple modulation"
    return [Table(title, rows, NOTES)]


def _rows(settings: Settings, n_steps: int, n_neurons: int) -> list[Row]:
    rows: list[Row] = []
    for n_envs in QUICK_N_ENVS if settings.quick else N_ENVS:
        iterate = learner(Case(n_envs=n_envs), 1, n_steps, n_neurons)
        counts = range(1, min(MOST_THREADS, usable_cores()) + 1)
        actions = {str(count): _with_threads(count, iterate) for count in counts}
        in_turn(actions, 1)  # warm-up
        for cores, other in (("idle", nullcontext), ("busy", _busy)):
            with other():
                parts = in_turn(actions, settings.repeat)
            times = [median(one.iteration for one in runs) for runs in parts.values()]
            row: Row = {"environments": n_envs, "other cores": cores}
            row |= {f"threads {n} [ms]": time / MILLI for n, time in enumerate(times, 1)}
            rows.append(row | {f"1 / {len(times)} threads": times[0] / times[-1]})
    return rows


def _with_threads(count: int, iterate: Callable[[], Parts]) -> Callable[[], Parts]:
    def run() -> Parts:
        torch.set_num_threads(count)
        return iterate()

    return run


@contextmanager
def _busy() -> Iterator[None]:
    other = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        other.kill()
        other.wait()
