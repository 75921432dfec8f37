"""Compiled code that Numba keeps on disk."""

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def _nothing() -> None:
    """A function for numba to take."""


def _finds_a_folder() -> bool:
    try:
        njit(cache=True)(_nothing)
    except RuntimeError:  # neither the installation nor a home directory is writable
        return False
    return True


CAN_CACHE = _finds_a_folder()
"""Whether numba has a writable folder; without one, every process compiles the loops again."""


def fingerprint(files: Iterable[Path]) -> int:
    """Return a number that changes if any of the files changes; see ``versioned``."""
    return zlib.crc32(b"".join(path.read_bytes() for path in sorted(files)))


def versioned(number: int) -> Callable[[FunctionT], FunctionT]:
    """Return a decorator for a function that Numba caches: each ``number`` has a cache of its own.

    Numba compiles a cached function again if its own file changes, but not if a function or a
    constant in another file changes that it uses. And it cannot read a cache that refers to a class
    which is not there any more. So the name of a cached function, and with it that of its cache,
    gets the fingerprint of all files that it depends on.
    """

    def rename(function: FunctionT) -> FunctionT:
        function.__qualname__ += f"_{number:x}"
        return function

    return rename
