"""The outcome of the test of a property."""

from typing import Any

import numpy as np

ROUNDING = 1e-4
"""Tolerance for actions, values, log-probabilities and gradients (relative to their norm), which
are of order 1 in float32."""
VISIBLE = 1e-2
"""A test is valid only if a mistake would make a difference of at least this size."""


class ViolationError(Exception):
    """The property does not hold."""


class NotTestedError(Exception):
    """The property cannot be tested."""


def judge(holds: bool, seen: str) -> str:
    """Return the sentence ``seen``; raise it as a ``ViolationError`` if the property fails."""
    if not holds:
        raise ViolationError(seen)
    return seen


def largest_difference(left: Any, right: Any) -> float:
    """The largest absolute difference of two arrays; infinity if it is NaN."""
    largest = float(np.abs(np.asarray(left) - np.asarray(right)).max())
    return largest if np.isfinite(largest) else float("inf")
