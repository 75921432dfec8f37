"""Run benchmarks and write their results: python -m benchmarks.run [--quick] [--only NAME ...]"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import NoReturn

from benchmarks.machine import describe, git_commit, usable_cores
from benchmarks.measuring import Settings, say
from benchmarks.registry import NAMES, load
from benchmarks.report import Finished, Report, section
from plasticrl.runs import keep_freed_memory

OUT = Path("results", "benchmarks")
TRIAL_OUT = Path("results", "trial")
"""Folder of quick or partial runs, so that they do not overwrite the results of a full run."""
REPEAT, QUICK_REPEAT = 7, 2
BAD_USAGE, INTERRUPTED = 2, 130


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_USAGE, f"error: {' '.join(message.split())}\n")


def main(arguments: Sequence[str]) -> int:
    """Run the requested benchmarks and return the exit status."""
    parser, options = _parse(arguments)
    _check_writable(parser, options.out)
    settings = Settings(options.quick, options.repeat, options.threads, options.out)
    report = Report(
        command=shlex.join(["python", "-m", "benchmarks.run", *arguments]),
        commit=git_commit(),
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        quick=settings.quick,
        repeat=settings.repeat,
        machine=describe(settings.threads),
    )
    _use_threads(settings.threads)
    keep_freed_memory()  # as a training does
    try:
        for name in dict.fromkeys(options.only):
            report.benchmarks[name] = _measure(name, settings)
            report.write(settings.out)  # after each benchmark, in case a later one is interrupted
            print(section(name, report.benchmarks[name]), end="\n\n", flush=True)
    except KeyboardInterrupt:
        say(f"interrupted; finished: {', '.join(report.benchmarks) or 'nothing'}")
        return INTERRUPTED
    say(f"written to {settings.out}")
    return 0


def _parse(arguments: Sequence[str]) -> tuple[_Parser, argparse.Namespace]:
    parser = _Parser(prog="python -m benchmarks.run", description="Measure speed and memory.")
    parser.add_argument("--quick", action="store_true", help="small sizes, a few minutes")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME",
                        help=f"any of {', '.join(NAMES)}; by default all")  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="of torch and the fused backend")
    parser.add_argument("--repeat", type=int, help=f"timed runs; {REPEAT}, quick {QUICK_REPEAT}")
    parser.add_argument("--out", type=Path, help=f"folder for the results; by default {OUT}, "
                        f"and {TRIAL_OUT} with --quick or --only")  # fmt: skip
    options = parser.parse_args(arguments)
    if options.out is None:
        options.out = TRIAL_OUT if options.quick or set(options.only) != set(NAMES) else OUT
    if options.repeat is None:
        options.repeat = QUICK_REPEAT if options.quick else REPEAT
    if options.repeat < 1:
        parser.error(f"--repeat must be at least 1, not {options.repeat}")
    if not 1 <= options.threads <= usable_cores():
        parser.error(f"--threads must be from 1 to {usable_cores()} here, not {options.threads}")
    return parser, options


def _check_writable(parser: _Parser, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        parser.error(f"--out: cannot write to {str(folder)!r}: {error.strerror}")


def _use_threads(threads: int) -> None:
    import torch  # imported here so that a bad argument is reported at once

    torch.set_num_threads(threads)


def _measure(name: str, settings: Settings) -> Finished:
    title, measure = load(name)
    say(f"{name}: {title}")
    start = perf_counter()
    tables = measure(settings)
    return Finished(title, perf_counter() - start, tables)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
