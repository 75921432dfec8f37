"""Find out whether numba can keep compiled code on disk."""

from numba import njit


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
