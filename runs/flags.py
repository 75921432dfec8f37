"""Flags to dataclasses, by tyro; a flag that is none is told in one sentence instead of a box."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any, TypeVar, get_type_hints

import tyro

from plasticrl.runs.errors import UsageError

T = TypeVar("T")

N_NEAREST = 3
ALIKE = 0.6
"""Least likeness, from 0 to 1, of a flag that may have been meant."""
_NO_FLAGS = (tyro.conf.Positional, tyro.conf.Suppress)


def parse_flags(form: type[T], argv: Sequence[str]) -> T:
    """What was asked for, as a dataclass.

    Raises:
        UsageError: there is no such flag; says which come near.
        SystemExit: after ``--help``; and with 2 for what else cannot be, which tyro has told.
    """
    _check(argv, form)
    return tyro.cli(form, args=argv)


def parse_preset(presets: Mapping[str, tuple[str, T]], argv: Sequence[str], description: str) -> T:
    """As ``parse_flags``, with one of several dataclasses to start from.

    Args:
        presets: what each is, in a line, and the dataclass.
        argv: its name first.
        description: of the command.
    """
    if argv[0] in presets:
        _check(argv, type(presets[argv[0]][1]))
    return tyro.extras.overridable_config_cli(presets, args=argv, description=description)


def _check(argv: Sequence[str], form: type[Any]) -> None:
    known = list(flag_names(form))
    words = takewhile(lambda word: word != "--", argv)
    for flag in (word.partition("=")[0] for word in words if word.startswith("--")):
        name = flag[2:].replace("_", "-")
        if name in ("help", *known) or name[:5] == "tyro-":
            continue
        near = " or ".join(f"--{one}" for one in nearest(name, known))
        meant = f": did you mean {near}?" if near else ";"
        raise UsageError(f"there is no flag {flag} here{meant} --help in its place lists all flags")


def nearest(word: str, flags: Sequence[str]) -> list[str]:
    """The flags most like a word, the most alike first; ``a2c.gamma`` may be called ``gamma``."""

    def likeness(flag: str) -> float:
        names = (flag, flag.rpartition(".")[2])
        return max(SequenceMatcher(None, word, name).ratio() for name in names)

    ordered = sorted(flags, key=likeness, reverse=True)
    return [flag for flag in ordered[:N_NEAREST] if likeness(flag) >= ALIKE]


def flag_names(form: type[Any], prefix: str = "") -> Iterator[str]:
    """The names of all flags of a dataclass, of those inside it with their dots."""
    hints = get_type_hints(form, include_extras=True)
    for item in fields(form):
        hint, name = hints[item.name], prefix + item.name.replace("_", "-")
        if is_dataclass(hint):
            yield from flag_names(hint, f"{name}.")  # type: ignore[arg-type]  # a class, not its value
        elif not any(marker in _NO_FLAGS for marker in getattr(hint, "__metadata__", ())):
            yield name
            if hint is bool:
                yield f"{prefix}no-{item.name.replace('_', '-')}"
