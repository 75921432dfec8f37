"""Checks that a run fits into memory, and keeps freed memory for the next iteration."""

import ctypes
import os
import sys
from pathlib import Path

from plasticrl.runs.errors import UsageError

GIB = 1 << 30
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""The numbers of these options of glibc's ``mallopt``."""
MOST_THREADS = 1024
"""With many more threads, the operating system may kill the program."""


def available_memory() -> int | None:
    """The memory in bytes that a new program can use; None if the system does not say."""
    limits = [
        int(line.split()[1]) * 1024
        for line in _lines("/proc/meminfo")
        if line.startswith("MemAvailable:")
    ]
    if not limits and hasattr(os, "sysconf"):
        limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    limits += [int(line) for line in _lines("/sys/fs/cgroup/memory.max") if line.isdigit()]
    return min(limits, default=None)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def check_memory(needed: int, sizes: str) -> None:
    """Raise ``UsageError`` if a run needs more memory than is available.

    Args:
        needed: bytes, at least.
        sizes: the settings that determine it, as in ``n_bits=1000``.
    """
    available = available_memory()
    if available is not None and needed > available:
        raise UsageError(
            f"{sizes}: this needs at least {needed / GIB:,.0f} GiB of memory, and "
            f"{available / GIB:,.1f} GiB are available; choose smaller sizes"
        )


def keep_freed_memory() -> None:
    """Make the C library keep freed memory, instead of returning it to the operating system.

    The operating system fills memory with zeros when it hands it out. A training allocates the same
    large arrays in every iteration, so that this takes a tenth of its time or more. The peak of the
    memory rises by up to a sixth, because the kept memory has gaps. This needs glibc; elsewhere,
    nothing happens.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
