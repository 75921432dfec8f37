"""The cache on disk in which Numba keeps compiled functions."""

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def _nothing() -> None:
    """A function with which to ask Numba for a cache."""


def _has_cache_folder() -> bool:
    try:
        njit(cache=True)(_nothing)
    except RuntimeError:  # neither the installation nor a home directory is writable
        return False
    return True


CAN_CACHE = _has_cache_folder()
"""Whether Numba has a writable folder; without one, every process compiles all functions again."""


def fingerprint(files: Iterable[Path]) -> int:
    """Return a number that changes if any of the files changes; see ``versioned``."""
    return zlib.crc32(b"".join(path.read_bytes() for path in sorted(files)))


def versioned(number: int) -> Callable[[FunctionT], FunctionT]:
    """Return a decorator that gives a function a separate cache for each ``number``.

    Numba compiles a cached function again if the function's own file changes, but not if it uses a
    function or a constant of another file that changes. It also fails to read a cache that refers
    to a class that no longer exists. Therefore ``number`` should be the fingerprint of all files on
    which the function depends. It is added to the function's name, which names the cache.
    """

    def rename(function: FunctionT) -> FunctionT:
        function.__qualname__ += f"_{number:x}"
        return function

    return rename
