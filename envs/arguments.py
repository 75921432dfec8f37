"""Checks of constructor arguments; an error names the argument, its value and the rule."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any


class ArgumentError(ValueError):
    """An argument of an environment has a value that it cannot have."""


def integer(name: str, value: Any, minimum: int, maximum: int | None = None) -> int:
    """Return ``value`` as an int between ``minimum`` and ``maximum`` (both included)."""
    bound = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
    if not isinstance(value, bool) and isinstance(value, Integral):
        number = int(value)
        if number >= minimum and (maximum is None or number <= maximum):
            return number
    raise ArgumentError(f"{name} must be an integer {bound}, got {value!r}")


def number(
    name: str,
    value: Any,
    minimum: float = 0.0,
    maximum: float = math.inf,
    exclusive: bool = False,
) -> float:
    """Return ``value`` as a finite float from minimum (above it if ``exclusive``) to maximum."""
    if not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value):
        result = float(value)
        if minimum < result <= maximum or (result == minimum and not exclusive):
            return result
    low = f"greater than {minimum:g}" if exclusive else f"of at least {minimum:g}"
    high = "" if maximum == math.inf else f" and at most {maximum:g}"
    raise ArgumentError(f"{name} must be a finite number {low}{high}, got {value!r}")


def choice(name: str, value: object, options: Sequence[str | None]) -> str | None:
    """Return ``value`` if it is one of ``options``."""
    if value is None or isinstance(value, str):
        for option in options:
            if option == value:
                return option
    raise ArgumentError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")


def flag(name: str, value: object) -> bool:
    """Return ``value`` if it is a bool."""
    if isinstance(value, bool):
        return value
    raise ArgumentError(f"{name} must be True or False, got {value!r}")
