"""Where the time of an A2C iteration goes, by a profile of Python's functions, on one thread."""

import cProfile
import pstats
from pathlib import Path

from benchmarks.iteration import (
    CASES,
    N_NEURONS,
    N_STEPS,
    QUICK_N_NEURONS,
    QUICK_N_STEPS,
    Case,
    learner,
)
from benchmarks.measuring import MILLI, Settings
from benchmarks.report import Row, Table

PLACES = {
    "closed_loop.py": "loops of the rollout: core, heads, sampling, environments",
    "numba_backward.py": "loops of the backward pass",
    "fused.py": "gradients without a trace",
    "optim": "optimizer",
    "clip_grad.py": "norm of the gradient",
    "buffers.py": "returns and advantages",
    "rollout.py": "steps and infos for callbacks",
    "agents/vec_env.py": "steps and infos for callbacks",
    "on_policy.py": "buffer, checks, callbacks",
    "callbacks.py": "buffer, checks, callbacks",
    "cpu.py": "arrays for the loops",
}
"""A part of a function's file, and what is done there."""
OTHER = "everything else: heads, distributions and autograd in torch"

NOTES = (
    "The time in a function itself, not in those that it calls, summed over the functions of a "
    "kind. The profile makes Python slower, but not the compiled loops.",
)


def measure(settings: Settings) -> list[Table]:
    """One table for every case."""
    return [_profile(name, case, settings) for name, case in CASES.items()]


def _profile(name: str, case: Case, settings: Settings) -> Table:
    n_steps = QUICK_N_STEPS if settings.quick else N_STEPS
    n_neurons = QUICK_N_NEURONS if settings.quick else N_NEURONS
    iterate = learner(case, 1, n_steps, n_neurons)
    iterate()  # compiles
    profile = cProfile.Profile()
    for _ in range(settings.repeat):
        profile.enable()
        iterate()
        profile.disable()
    times: dict[str, float] = {}
    for (file, _, _), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        place = next((PLACES[part] for part in PLACES if part in _end(file)), OTHER)
        times[place] = times.get(place, 0.0) + own / settings.repeat
    total = sum(times.values())
    rows: list[Row] = [
        {"place": place, "time [ms]": time / MILLI, "share [%]": 100 * time / total}
        for place, time in sorted(times.items(), key=lambda item: -item[1])
    ]
    size = f"{case.n_envs} environments x {n_steps} steps, N = {n_neurons}"
    return Table(f"GridMaze 9 x 9, {size}, {name}", rows, NOTES)


def _end(file: str) -> str:
    """The folder and the name of a file."""
    return str(Path(*Path(file).parts[-2:]))
