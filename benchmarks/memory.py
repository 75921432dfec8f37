"""Peak memory of one sequence above what a fresh process held before it.

On Linux the process's own high-water mark, reset before the run, above what was resident then.
``ru_maxrss`` would not do: a child inherits its parent's, and after a large parent shows no growth.
"""

import ctypes
import gc
import json
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import torch

from benchmarks.cases import TINY, Size, forward_backward
from benchmarks.machine import ROOT

MB = 1e6
KIB = 1024
STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What, written there, makes the high-water mark what is resident now."""


def peak_growth(kind: str, backend: str, size: Size, threads: int) -> float | None:
    """MB that the run takes at its peak, measured in a new process; None if memory ran out."""
    task = json.dumps([kind, backend, size, threads])
    command = [sys.executable, "-m", "benchmarks.memory", task]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == -signal.SIGKILL:
        return None
    if done.returncode != 0:
        raise RuntimeError(f"measuring memory of {task} failed:\n{done.stderr}")
    return float(done.stdout)


def _measure(kind: str, backend: str, size: Size, threads: int) -> float:
    torch.set_num_threads(threads)
    forward_backward(kind, backend, TINY)()
    run = forward_backward(kind, backend, size)
    before = _resident_and_reset()
    run()
    return (_peak() - before) / MB


def _resident_and_reset() -> float:
    """Bytes resident now, or where that is unknown at the peak up to now."""
    if not STATUS.exists():
        return _peak()
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc's: what was freed would hide growth
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):  # without the reset an old peak could only make the growth larger
        RESET.write_text(RESET_PEAK)
    return _status("VmRSS")


def _peak() -> float:
    """Bytes resident at the process's peak."""
    if STATUS.exists():
        return _status("VmHWM")
    unit = 1 if sys.platform == "darwin" else KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(field: str) -> float:
    lines = STATUS.read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return float(line.split()[1]) * KIB


if __name__ == "__main__":
    kind, backend, size, threads = json.loads(sys.argv[1])
    print(_measure(kind, backend, Size(*size), threads))
