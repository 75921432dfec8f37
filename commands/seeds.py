"""The flag ``--seeds``."""

import re
from typing import Any

import tyro

from plasticrl.runs import check_seed

MOST_SEEDS = 100


def parse_seeds(words: list[str]) -> tuple[int, ...]:
    """Parse words such as ``0..8`` or ``0 1 5``; a range includes its end.

    Raises:
        ValueError: a word is neither a number nor a range, a seed is given twice, or there are too
            many.
        UsageError: a seed is too large.
    """
    seeds: list[int] = []
    for word in words:
        match = re.fullmatch(r"(\d{1,10})(?:\.\.(\d{1,10}))?", word)
        if not match:
            raise ValueError(f"expected seeds such as 0..8 or 0 1 5, got {word!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"{word} must count upward")
        seeds += range(first, min(last, first + MOST_SEEDS) + 1)
    if not seeds:
        raise ValueError("expected seeds such as 0..8 or 0 1 5")
    check_seed(max(seeds))
    if len(seeds) > MOST_SEEDS:
        raise ValueError(f"there can be at most {MOST_SEEDS} seeds")
    if len(set(seeds)) < len(seeds):
        raise ValueError("a seed is given twice")
    return tuple(seeds)


SEEDS: Any = tyro.constructors.PrimitiveConstructorSpec(
    nargs="*",
    metavar="SEED|FIRST..LAST",
    instance_from_str=parse_seeds,
    is_instance=lambda value: isinstance(value, tuple),
    str_from_instance=lambda seeds: [str(seed) for seed in seeds],
)
"""How tyro parses seeds."""
