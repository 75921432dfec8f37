"""Random numbers by counter: draw i of event c in a row with key k is a pure function of (k, c, i).

    bits(k, c, i) = mix(k + (128 c + i) g)      g = 2^64 / golden ratio, odd
    mix(z): z <- (z ^ z >> 30) m1;  z <- (z ^ z >> 27) m2;  z <- z ^ z >> 31    (mod 2^64)

This is the splitmix64 sequence started at k, whose elements can be computed in any order (Steele,
Lea & Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA). So a whole batch draws
at once, and a row draws the same numbers in a batch of any size, with numpy and with torch.

The 64 bits are kept in int64, since torch has no arithmetic for uint64. Signed products wrap around
as unsigned ones do, and a mask makes the right shift logical.
"""

from typing import Any

import array_api_compat.numpy
import numpy as np

from plasticrl.envs.arrays import Array, Floats, HostArray, Ints

DRAWS_PER_EVENT = 128  # elements of the sequence that are reserved for each reset or step


def _signed(bits: int) -> int:
    """Return the int64 with the same 64 bits."""
    return bits - (1 << 64) if bits >> 63 else bits


GOLDEN = _signed(0x9E3779B97F4A7C15)
MULTIPLIERS = (_signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB))
_FRACTION = (1 << 53) - 1
EVENT = _signed(DRAWS_PER_EVENT * 0x9E3779B97F4A7C15 % (1 << 64))


def _shift(bits: Ints, places: int) -> Ints:
    """Shift right, filling with zeros."""
    return (bits >> places) & ((1 << (64 - places)) - 1)


def mix(bits: Ints) -> Ints:
    """Apply splitmix64's finalizer, a bijection of 64 bits that mixes all of them."""
    bits = (bits ^ _shift(bits, 30)) * MULTIPLIERS[0]
    bits = (bits ^ _shift(bits, 27)) * MULTIPLIERS[1]
    return bits ^ _shift(bits, 31)


def event_places(n: int) -> HostArray:
    """Return the offsets (n, 1) of an event's first n <= ``DRAWS_PER_EVENT`` numbers."""
    return np.arange(1, n + 1, dtype=np.int64)[:, None] * GOLDEN


def uniforms(xp: Any, key: Ints, counter: Ints, places: Ints) -> Floats:
    """Draw numbers in [0, 1) for every row.

    Args:
        xp: the array API namespace.
        key: (B,) the rows' keys.
        counter: (..., B) the number of the event in each row.
        places: (n, 1) ``event_places``.

    Returns:
        (..., n, B) multiples of 2^-53.
    """
    start = key + counter * EVENT
    return xp.astype(mix(start[..., None, :] + places) & _FRACTION, xp.float64) * 2.0**-53


def integers(xp: Any, uniform: Floats, n: int | Ints) -> Ints:
    """Turn numbers in [0, 1) into integers in 0 .. n - 1 (n up to 2^53)."""
    return xp.astype(uniform * n, xp.int64)


def row_key(generator: np.random.Generator) -> int:
    """Draw a row's key from Gymnasium's generator, once, when the row is seeded."""
    return int(generator.integers(-(2**63), 2**63, dtype=np.int64))


class UniformsAhead:
    """Computes ``uniforms`` in numpy for several successive events at once.

    With few rows, a call costs more than the numbers it computes. The numbers of the next events
    are kept; a request for any other event computes that one and its successors anew.

    Args:
        places: (n, 1) ``event_places``.
        num_envs: number of rows B.
    """

    most_events = 64
    most_numbers = 4096  # computed at once

    def __init__(self, places: HostArray, num_envs: int) -> None:
        self._places = places
        numbers = max(1, len(places) * num_envs)  # of one event, which may have none
        self._size = min(self.most_events, max(1, self.most_numbers // numbers))
        self._ahead = np.arange(self._size + 1)[:, None]
        self._key: Array = None
        self._draws: list[Array] = []
        self._counters: list[Array] = []
        self._next = 0

    def __call__(self, key: Ints, counter: Ints) -> tuple[Floats, Ints]:
        """Return the event's numbers (n, B) and the counter (B,) of the next one."""
        index = self._next
        kept = index < len(self._draws)
        if not (kept and key is self._key and counter is self._counters[index]):
            index = 0
            counters = counter + self._ahead
            self._key, self._counters = key, list(counters)
            self._draws = list(uniforms(array_api_compat.numpy, key, counters[:-1], self._places))
        self._next = index + 1
        return self._draws[index], self._counters[index + 1]
