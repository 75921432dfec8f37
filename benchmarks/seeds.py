"""Runs of several seeds that are trained together, against one run after the other."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.measuring import Settings, alternated, ratio
from benchmarks.report import Row, Table
from plasticrl.agents.training.presets import maze_quickstart
from plasticrl.agents.training.run import TrainingRun
from plasticrl.agents.training.together import JointRuns
from plasticrl.runs import TrainingSession

N_SEEDS = 4
TOTAL, QUICK_TOTAL = 600_000, 3_000
PRESET = "maze-quickstart"
PROGRAM = "import sys; from plasticrl.commands import main; sys.exit(main(sys.argv[1:]))"

NOTES = (
    "commands: whole processes, with the import of torch.",
    "training: in one process that has imported and compiled everything.",
    "Both include the pictures that each run draws at its start and its end.",
)


def measure(settings: Settings) -> list[Table]:
    """One table, with the seconds for all seeds; whole processes have one thread."""
    total = QUICK_TOTAL if settings.quick else TOTAL
    before = torch.get_num_threads()
    try:
        rows = [
            _row("commands", _by_commands, total, settings),
            _row("training", _in_this_process, total, settings),
        ]
    finally:
        torch.set_num_threads(before)  # a run sets those of its config
    return [Table(f"{PRESET}, {N_SEEDS} seeds, {total:,} steps each, one thread", rows, NOTES)]


def _row(
    what: str, train: Callable[[bool, int, Path], None], total: int, settings: Settings
) -> Row:
    def action(together: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            train(together, total, Path(folder))

    timings = alternated(
        {"separate": lambda: action(False), "together": lambda: action(True)}, settings.repeat
    )
    return {
        "what": what,
        "one after the other [s]": timings["separate"].median,
        "together [s]": timings["together"].median,
        "ratio": ratio(timings["separate"], timings["together"]),
    }


def _by_commands(together: bool, total: int, folder: Path) -> None:
    flags = (
        [[f"--seeds=0..{N_SEEDS - 1}", f"--run-dir={folder}"]]
        if together
        else [[f"--seed={seed}", f"--run-dir={folder / str(seed)}"] for seed in range(N_SEEDS)]
    )
    for some in flags:
        command = ["train", PRESET, f"--total-timesteps={total}", *some]
        subprocess.run([sys.executable, "-c", PROGRAM, *command], check=True, capture_output=True)


def _in_this_process(together: bool, total: int, folder: Path) -> None:
    config = replace(maze_quickstart(), total_timesteps=total)
    if together:
        paths = {seed: folder / str(seed) for seed in range(N_SEEDS)}
        JointRuns.start(config, PRESET, paths).learn(TrainingSession())
        return
    for seed in range(N_SEEDS):
        run = TrainingRun.start(replace(config, seed=seed), PRESET, folder / str(seed))
        run.learn(TrainingSession())
