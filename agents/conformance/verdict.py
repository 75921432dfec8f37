"""How a property says what was seen."""

from typing import Any

import numpy as np

ROUNDING = 1e-4
"""Actions, values, log-probabilities and gradients (relative to their norm) that differ by no more
are equal: they are numbers of about 1 in single precision."""
VISIBLE = 1e-2
"""Without a difference of this size, a test could not see an error."""


class ViolationError(Exception):
    """The property does not hold."""


class NotTestedError(Exception):
    """The property cannot be tested."""


def judge(holds: bool, seen: str) -> str:
    """Return what was seen; raise ``ViolationError`` with it if the property does not hold."""
    if not holds:
        raise ViolationError(seen)
    return seen


def largest_difference(left: Any, right: Any) -> float:
    """The largest difference of two arrays; infinity if it is not a number."""
    largest = float(np.abs(np.asarray(left) - np.asarray(right)).max())
    return largest if np.isfinite(largest) else float("inf")
