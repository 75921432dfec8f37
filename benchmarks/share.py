"""Float32 rates of the fused sequence relative to those measured on the machine.

The operations are counted by hand in the code of plastic_rnn with simple modulation and the hard
bound, for every element of a trace (B N^2 of them without padding) and every step (T of them).
Additions, multiplications, minima, maxima and comparisons are one operation each.

    pass                        operations                                     reads + writes
    forward                     update 4, product 4                    =  8    H w alpha + H    = 4
    backward, recomputation     update 4                               =  4    H + H            = 2
    backward, the step          update 4, q 1, d_alpha 2, g_pre 4,     = 18    H w alpha d_alpha gH
                                g 3, a sum 2, g_before 2                       + d_alpha gH     = 7
    backward, segment's start   q 1, gH 2, d_alpha 2, g_pre 4          =  9    as above         = 7
    checkpoint                                                                 H + H, twice     = 4

The update is d = u pre, h + d and two bounds. A sequence has ceil(T / G) segments of G steps; see
``choose_segment_length``. A segment's first trace is a checkpoint, written in the forward and read
in the backward pass; its other traces are computed again. Everything of size N or N B stays in the
nearest cache, is N times less, and is not counted.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.cases import MODULATED, Size, forward_backward
from benchmarks.measuring import MILLI, Settings, alternated, say
from benchmarks.report import Row, Table
from plasticrl.core.backends.fused import choose_segment_length

SIZES = (Size(200, 30, 100), Size(120, 30, 200), Size(200, 1, 1000))
QUICK_SIZES = (Size(40, 8, 32), Size(40, 1, 96))

FLOAT_BYTES = 4
GIGA = 1e9
GEMM_WIDTH = 1024
COPY_MB = 256
BYTES_PER_MB = 1_000_000

NOTES = (
    f"GEMM: torch.mm of two {GEMM_WIDTH} x {GEMM_WIDTH} matrices; copy: numpy, {COPY_MB} MB, "
    "counting bytes read and bytes written.",
    "Operations and bytes are counted by hand in the compiled loops; benchmarks/share.py explains "
    "how. The bytes include those from caches, so that a share of the copy can be above 1.",
)


class Cost(NamedTuple):
    """Operations and bytes per trace element and step."""

    operations: float
    bytes: float


FORWARD = Cost(8, 4 * FLOAT_BYTES)
RECOMPUTE = Cost(4, 2 * FLOAT_BYTES)
BACKWARD = Cost(18, 7 * FLOAT_BYTES)
SEGMENT_START = Cost(9, 7 * FLOAT_BYTES)
CHECKPOINT = Cost(0, 4 * FLOAT_BYTES)


class Rates(NamedTuple):
    """Operations and bytes per second."""

    operations: float
    bytes: float


def measure(settings: Settings) -> list[Table]:
    """A table of the machine's rates and a table of the sequence's."""
    machine = _machine_rates(settings.repeat)
    rates: list[Row] = [
        {"what": "GEMM, float32 [GFLOP/s]", "rate": machine.operations / GIGA},
        {"what": "copy [GB/s]", "rate": machine.bytes / GIGA},
    ]
    sizes = QUICK_SIZES if settings.quick else SIZES
    reached = [_row(size, machine, settings.repeat) for size in sizes]
    return [
        Table("The machine's rates", rates),
        Table("The fused sequence, forward and backward", reached, NOTES),
    ]


def cost(n_steps: int, n_rows: int) -> Cost:
    """The sum of the table above for a sequence of ``n_steps`` and ``n_rows``, with one thread."""
    segment_length = choose_segment_length(n_steps, n_rows, rows_at_once=1)
    starts = math.ceil(n_steps / segment_length) / n_steps  # per step
    weighted = (
        (FORWARD, 1.0),
        (RECOMPUTE, 1 - starts),
        (BACKWARD, 1.0),
        (SEGMENT_START, starts),
    )
    parts = (*weighted, (CHECKPOINT, starts))
    return Cost(
        sum(part.operations * times for part, times in parts),
        sum(part.bytes * times for part, times in parts),
    )


def _machine_rates(repeat: int) -> Rates:
    say("  GEMM and copy")
    left, right = torch.randn(2, GEMM_WIDTH, GEMM_WIDTH)
    product = torch.empty_like(left)
    source = np.ones(COPY_MB * BYTES_PER_MB // FLOAT_BYTES, np.float32)
    target = np.zeros_like(source)
    timings = alternated(
        {
            "gemm": lambda: torch.mm(left, right, out=product),
            "copy": lambda: np.copyto(target, source),
        },
        repeat,
    )
    operations, moved = 2 * GEMM_WIDTH**3, source.nbytes + target.nbytes
    return Rates(operations / timings["gemm"].median, moved / timings["copy"].median)


def _row(size: Size, machine: Rates, repeat: int) -> Row:
    say(f"  T {size.steps}, B {size.rows}, N {size.neurons}")
    action = forward_backward(MODULATED, "fused", size)
    seconds = alternated({"fused": action}, repeat)["fused"].median
    elements = size.steps * size.rows * size.neurons**2
    operations, moved = (elements * count / seconds for count in cost(size.steps, size.rows))
    return {
        "T": size.steps,
        "B": size.rows,
        "N": size.neurons,
        "time [ms]": seconds / MILLI,
        "GFLOP/s": operations / GIGA,
        "of GEMM": operations / machine.operations,
        "GB/s": moved / GIGA,
        "of copy": moved / machine.bytes,
    }
