"""Peak memory of an action, above the memory that a new process used before it.

On Linux this is the peak resident set size of the process, which is reset before the action, minus
the resident set size at that time. ``ru_maxrss`` is not used there: a child process inherits it, so
that a child of a large process shows no growth.
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
from typing import Any

from benchmarks.machine import ROOT
from benchmarks.measuring import Action

MB = 1e6
KIB = 1024
STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""The content of ``clear_refs`` that resets the peak resident set size to the current one."""


def in_new_process(module: str, *arguments: Any) -> Any:
    """What a module prints as JSON when it is run with arguments as JSON; None if memory ran out.

    Raises:
        RuntimeError: the module failed.
    """
    command = [sys.executable, "-m", module, json.dumps(arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == -signal.SIGKILL:
        return None
    if done.returncode != 0:
        raise RuntimeError(f"{module} failed with {arguments}:\n{done.stderr}")
    return json.loads(done.stdout)


def peak_growth(action: Action) -> float:
    """Run the action; return its peak memory in MB above the memory before."""
    before = _resident_and_reset()
    action()
    return (_peak() - before) / MB


def _resident_and_reset() -> float:
    """Reset the peak and return the resident bytes, or the peak so far if they are unknown."""
    if not STATUS.exists():
        return _peak()
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc only; freed memory would hide growth
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):  # without the reset, the growth can only be overestimated
        CLEAR_REFS.write_text(RESET_PEAK)
    return _status("VmRSS")


def _peak() -> float:
    """The peak resident set size in bytes."""
    if STATUS.exists():
        return _status("VmHWM")
    unit = 1 if sys.platform == "darwin" else KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(field: str) -> float:
    lines = STATUS.read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return float(line.split()[1]) * KIB
