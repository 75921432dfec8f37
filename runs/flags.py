"""Flags to dataclasses, by tyro; a flag that is none is told in one sentence instead of a box."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from difflib import SequenceMatcher
from typing import TypeVar, get_type_hints

import tyro

from plasticrl.runs.errors import UsageError

T = TypeVar("T")

N_NEAREST = 3
ALIKE = 0.6
"""Least likeness, from 0 to 1, of a flag that may have been meant."""
_NO_FLAGS = (tyro.conf.Positional, tyro.conf.Suppress)


def parse_flags(form: type[T], argv: Sequence[str], description: str | None = None) -> T:
    """What was asked for, as a ``form``: a dataclass, or a choice of them by their first word.

    Raises:
        UsageError: a flag or a word is not known; says which flags come near.
        SystemExit: after ``--help``; and with 2 for a value that cannot be, which tyro has told.
    """
    asked, unknown = tyro.cli(
        form,
        args=argv,
        description=description,
        return_unknown_args=True,
        config=(tyro.conf.AvoidSubcommands,),  # a field with a union is a flag
    )
    if unknown:
        given = [word for word in unknown if word.startswith("-")] or unknown
        raise UsageError(f"{_told(given[0], asked)} --help in its place lists all flags")
    return asked


def _told(given: str, asked: object) -> str:
    if not given.startswith("-"):
        return f"{given!r} is neither a flag nor the value of one;"
    flag = given.partition("=")[0]
    near = nearest(flag.lstrip("-").replace("_", "-"), list(_flags(asked)))
    meant = f": did you mean {' or '.join(f'--{name}' for name in near)}?" if near else ";"
    return f"there is no flag {flag} here{meant}"


def nearest(word: str, flags: Sequence[str]) -> list[str]:
    """The flags most like a word, the most alike first; ``a2c.gamma`` may be called ``gamma``."""

    def likeness(flag: str) -> float:
        names = (flag, flag.rpartition(".")[2])
        return max(SequenceMatcher(None, word, name).ratio() for name in names)

    return [
        flag
        for flag in sorted(flags, key=likeness, reverse=True)[:N_NEAREST]
        if likeness(flag) >= ALIKE
    ]


def _flags(asked: object, prefix: str = "") -> Iterator[str]:
    """The names of all flags of a dataclass, of those inside it with their dots."""
    assert is_dataclass(asked)
    hints = get_type_hints(type(asked), include_extras=True)
    for item in fields(asked):
        value = getattr(asked, item.name)
        if any(marker in _NO_FLAGS for marker in getattr(hints[item.name], "__metadata__", ())):
            continue
        name = prefix + item.name.replace("_", "-")
        if is_dataclass(value):
            yield from _flags(value, f"{name}.")
        else:
            yield name
