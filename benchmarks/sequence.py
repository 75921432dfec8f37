"""Forward and backward of a sequence, eager against fused: time and peak memory."""

import json
import sys

import torch

from benchmarks.cases import KINDS, LANGUAGE, TINY, Size, backends_of, forward_backward
from benchmarks.measuring import MILLI, Settings, Timing, alternated, ratio, say, seconds
from benchmarks.memory import in_new_process, peak_growth
from benchmarks.report import Row, Table

SIZES = (Size(200, 30, 100), Size(120, 30, 200), Size(200, 30, 64), Size(200, 1, 1000))
COMPARISON_SIZES = (Size(200, 30, 64),)
"""Sizes of the cells that are compared with plastic_rnn."""
SIZES_LANGUAGE = (Size(70, 6, 1149),)
"""As in BP 2019 (arXiv 2002.10585) section 4.3. Eager takes over 12 GB."""
QUICK_SIZES = (Size(40, 8, 32), Size(40, 1, 96))
QUICK_COMPARISON_SIZES = (Size(40, 8, 32),)
QUICK_SIZES_LANGUAGE = (Size(20, 2, 48),)

OUT_OF_MEMORY = "A missing number of the eager backend means that memory ran out."
TIME_NOTES = (
    "Eager and fused alternate in one process; float32; upstream gradients on all outputs.",
    "fused: the fast backend for the cell: compiled loops for plastic cells, and torch's own "
    "implementation for gru and lstm; a missing number means that there is none.",
    "First use: the first call of a cell's fused loops in the process. It compiles them, or loads "
    "them from numba's cache on disk if they were compiled on this machine before.",
    OUT_OF_MEMORY,
)
MEMORY_NOTES = (
    "Above the memory of a new process that has loaded libraries, loops, cell and inputs. Growth "
    "of less than 1 MB says little, since memory that was free before may have been used.",
    OUT_OF_MEMORY,
)

Measured = dict[str, float | None]
"""A number for each backend, None if memory ran out."""


def measure(settings: Settings) -> list[Table]:
    """A table of times and a table of memory."""
    times: list[Row] = []
    memories: list[Row] = []
    for kind in KINDS:
        first_use: Measured = {
            name: seconds(forward_backward(kind, name, TINY)) for name in backends_of(kind, TINY)
        }
        for size in _sizes(kind, settings.quick):
            say(f"  {kind}, T {size.steps}, B {size.rows}, N {size.neurons}")
            backends = backends_of(kind, size)
            memory: Measured = {
                name: in_new_process(__name__, kind, name, size, settings.threads)
                for name in backends
            }
            timings = _timings(kind, size, memory, settings.repeat)
            times.append(_time_row(kind, size, timings, first_use.pop("fused", None)))
            memories.append(_memory_row(kind, size, memory))
    return [
        Table("Time, medians and minima", times, TIME_NOTES),
        Table("Peak memory above start", memories, MEMORY_NOTES),
    ]


def _sizes(kind: str, quick: bool) -> tuple[Size, ...]:
    if kind == LANGUAGE:
        return QUICK_SIZES_LANGUAGE if quick else SIZES_LANGUAGE
    if kind.startswith("plastic_rnn"):
        return QUICK_SIZES if quick else SIZES
    return QUICK_COMPARISON_SIZES if quick else COMPARISON_SIZES


def _timings(kind: str, size: Size, memory: Measured, repeat: int) -> dict[str, Timing]:
    """Time the backends whose memory did not run out."""
    possible = [backend for backend, needed in memory.items() if needed is not None]
    actions = {backend: forward_backward(kind, backend, size) for backend in possible}
    return alternated(actions, repeat)


def _time_row(kind: str, size: Size, timings: dict[str, Timing], first_use: float | None) -> Row:
    row = _key(kind, size)
    for backend in ("eager", "fused"):
        timing = timings.get(backend)
        row[f"{backend} [ms]"] = timing and timing.median / MILLI
        row[f"{backend} min [ms]"] = timing and timing.minimum / MILLI
    both = len(timings) > 1
    row["eager / fused"] = ratio(timings["eager"], timings["fused"]) if both else None
    row["first use [s]"] = first_use
    return row


def _memory_row(kind: str, size: Size, memory: Measured) -> Row:
    eager, fused = memory["eager"], memory.get("fused")
    return {
        **_key(kind, size),
        "eager [MB]": eager,
        "fused [MB]": fused,
        "eager / fused": eager / fused if eager and fused else None,
    }


def _key(kind: str, size: Size) -> Row:
    return {"cell": kind, "T": size.steps, "B": size.rows, "N": size.neurons}


def _memory(kind: str, backend: str, size: Size, threads: int) -> float:
    torch.set_num_threads(threads)
    forward_backward(kind, backend, TINY)()
    return peak_growth(forward_backward(kind, backend, size))


if __name__ == "__main__":
    kind, backend, size, threads = json.loads(sys.argv[1])
    print(_memory(kind, backend, Size(*size), threads))
