"""Forward and backward of a sequence, eager against fused: time and peak memory."""

from benchmarks.cases import KINDS, LANGUAGE, TINY, Size, backends_of, forward_backward
from benchmarks.measuring import MILLI, Settings, Timing, alternated, ratio, say, seconds
from benchmarks.memory import peak_growth
from benchmarks.report import Row, Table

SIZES = (Size(200, 30, 100), Size(120, 30, 200), Size(200, 30, 64), Size(200, 1, 1000))
SIZES_BESIDE = (Size(200, 30, 64),)
"""Of the cells that are here for comparison with plastic_rnn."""
SIZES_LANGUAGE = (Size(70, 6, 1149),)
"""As in BP 2019 (arXiv 2002.10585) section 4.3. Eager takes over 12 GB."""
QUICK_SIZES = (Size(40, 8, 32), Size(40, 1, 96))
QUICK_SIZES_BESIDE = (Size(40, 8, 32),)
QUICK_SIZES_LANGUAGE = (Size(20, 2, 48),)

RAN_OUT = "Where a number is missing that must be there, as eager's, memory ran out."
TIME_NOTES = (
    "Eager and fused in turn, in one process; float32; upstream gradients on all outputs.",
    "fused: the library's fast path for the cell, compiled loops for plastic_rnn, torch's own for "
    "gru and lstm; without a number there is none.",
    "First use: the first call of a kind of fused loops in the process. It compiles them, or loads "
    "them from numba's cache on disk if they were compiled on this machine before.",
    RAN_OUT,
)
MEMORY_NOTES = (
    "Above what a fresh process holds once libraries, loops, cell and inputs are loaded. Growth "
    "of less than 1 MB says little: memory that was free before may have served.",
    RAN_OUT,
)

Measured = dict[str, float | None]
"""A number for each backend, None where there is none."""


def measure(settings: Settings) -> list[Table]:
    """One table of times, one of memory."""
    times: list[Row] = []
    memories: list[Row] = []
    for kind in KINDS:
        first_use: Measured = {
            name: seconds(forward_backward(kind, name, TINY)) for name in backends_of(kind, TINY)
        }
        for size in _sizes(kind, settings.quick):
            say(f"  {kind}, T {size.steps}, B {size.rows}, N {size.neurons}")
            backends = backends_of(kind, size)
            memory = {name: peak_growth(kind, name, size, settings.threads) for name in backends}
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
    return QUICK_SIZES_BESIDE if quick else SIZES_BESIDE


def _timings(kind: str, size: Size, memory: Measured, repeat: int) -> dict[str, Timing]:
    """Of the backends whose memory did not run out."""
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
