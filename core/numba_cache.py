"""Whether Numba can keep compiled loops on disk."""

from numba import njit


def _nothing() -> None:
    """Do nothing."""


def _finds_a_folder() -> bool:
    try:
        njit(cache=True)(_nothing)
    except RuntimeError:  # neither the installation nor a home directory is writable
        return False
    return True


CAN_CACHE = _finds_a_folder()
"""Otherwise every process compiles the loops anew."""
