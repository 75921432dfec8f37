"""Random numbers by counter: draw i of event c in a row with key k is a pure function of (k, c, i).

    bits(k, c, i) = mix(k + (128 c + i) g)      g = 2^64 / golden ratio, odd
    mix(z): z <- (z ^ z >> 30) m1;  z <- (z ^ z >> 27) m2;  z <- z ^ z >> 31    (mod 2^64)

which is the splitmix64 sequence started at k and read at any place (Steele, Lea & Flood 2014, "Fast
splittable pseudorandom number generators", OOPSLA). So a whole batch draws at once, and a row draws
the same numbers in a batch of one and in a batch of thousands.

The 64 bits are kept in int64, whose products wrap around as unsigned ones do, and a right shift is
made logical with a mask: torch has no arithmetic for uint64.
"""

import numpy as np

from plasticrl.envs.arrays import Floats, Ints

DRAWS_PER_EVENT = 128  # an event (a reset or a step) owns this many places of the sequence


def _signed(bits: int) -> int:
    """The int64 with the same 64 bits."""
    return bits - (1 << 64) if bits >> 63 else bits


GOLDEN = _signed(0x9E3779B97F4A7C15)
_MULTIPLIERS = (_signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB))
_FRACTION = (1 << 53) - 1
_EVENT = _signed(DRAWS_PER_EVENT * 0x9E3779B97F4A7C15 % (1 << 64))
_PLACES = np.arange(1, DRAWS_PER_EVENT + 1, dtype=np.int64) * GOLDEN


def _shift(bits: Ints, places: int) -> Ints:
    """Logical right shift."""
    return (bits >> places) & ((1 << (64 - places)) - 1)


def mix(bits: Ints) -> Ints:
    """splitmix64's finaliser: a bijection of 64 bits in which every input bit moves every other."""
    bits = (bits ^ _shift(bits, 30)) * _MULTIPLIERS[0]
    bits = (bits ^ _shift(bits, 27)) * _MULTIPLIERS[1]
    return bits ^ _shift(bits, 31)


def uniforms(key: Ints, counter: Ints, n: int) -> Floats:
    """Draw `n` numbers in [0, 1) for every row.

    Args:
        key: (B,) the rows' keys.
        counter: (B,) the number of the event in each row.
        n: how many, at most `DRAWS_PER_EVENT`.

    Returns:
        (B, n) multiples of 2^-53.
    """
    start = key + counter * _EVENT
    places = start[:, None] + _PLACES[:n]
    return (mix(places) & _FRACTION).astype(np.float64) * 2.0**-53


def integers(uniform: Floats, n: int | Ints) -> Ints:
    """Turn numbers in [0, 1) into integers in 0 .. n - 1 (n up to 2^53)."""
    return (uniform * n).astype(np.int64)


def row_key(generator: np.random.Generator) -> int:
    """Draw a row's key from Gymnasium's generator, once, when the row is seeded."""
    return int(generator.integers(-(2**63), 2**63, dtype=np.int64))
