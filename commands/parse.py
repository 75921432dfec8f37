"""Parses flags into dataclasses with tyro, and turns tyro's error boxes into one sentence."""

import io
import itertools
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any, TypeVar

import tyro

from plasticrl.commands.flags import canonical, flag_paths, flag_words, given_values, nearest
from plasticrl.commands.help import with_help
from plasticrl.runs import UsageError

T = TypeVar("T")

_TRUTH_VALUES = ("true", "false", "yes", "no", "on", "off", "1", "0")
"""Values that users may give to a boolean flag, which takes none."""
_CHOICE = re.compile(r"invalid choice (.*) for argument '(.*)'\. Expected one of \((.*)\)\.")
"""tyro's message about a value that is not among the choices."""
_BOX = re.compile(r"[│╭╮╰╯─━┃┏┓┗┛|+]|-{3,}")
"""The characters with which tyro draws boxes."""


def parse_flags(
    form: type[T],
    argv: Sequence[str],
    default: T | None = None,
    *,
    prog: str,
    description: str | None = None,
) -> T:
    """Parse command-line arguments into a dataclass.

    Args:
        form: the dataclass; each field is a flag.
        argv: the arguments.
        default: the values of flags that are not given; None: the defaults of the dataclass.
        prog: the command as the user types it, for ``--help``.
        description: the description of the command, for ``--help``.

    Raises:
        UsageError: a flag does not exist, or its value is invalid; the message names the flag.
        SystemExit: after ``--help``, with status 0.
    """
    _check_flags(argv, form)
    if {"--help", "-h"}.intersection(itertools.takewhile(lambda word: word != "--", argv)):
        form, default = with_help(form, default), None
    start = tyro.MISSING_NONPROP if default is None else default
    errors = io.StringIO()
    try:
        with redirect_stderr(errors):
            parsed = tyro.cli(form, prog=prog, args=argv, default=start, description=description)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(_sentence(errors.getvalue())) from None
    _check_paths(parsed)
    _check_lists(argv, parsed)
    return parsed


def _check_lists(argv: Sequence[str], parsed: object) -> None:
    """Raise ``UsageError`` for a list that is given twice, of which tyro takes the last."""
    paths, values = flag_paths(type(parsed)), given_values(argv, parsed)
    given: set[str] = set()
    for flag in filter(paths.__contains__, map(canonical, flag_words(argv))):
        path = paths[flag]
        if path in given and isinstance(values[path], tuple | dict):
            raise UsageError(f"--{flag} is given more than once: name all values after one of them")
        given.add(path)


def _check_paths(value: object, name: str = "") -> None:
    """Raise ``UsageError`` for a path that is invalid or not accessible.

    Args:
        value: a path, or a tuple or dataclass with paths.
        name: the name of the field.
    """
    if isinstance(value, Path):
        try:
            value.stat()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError) as error:  # ValueError: it has a null character
            reason = getattr(error, "strerror", None) or error
            flag = "" if name == "runs" else f"--{name.replace('_', '-')}: "
            raise UsageError(f"{flag}{value}: {reason}; choose another path") from error
    elif isinstance(value, tuple):
        for part in value:
            _check_paths(part, name)
    elif is_dataclass(value):
        for item in fields(value):
            _check_paths(getattr(value, item.name), item.name)


def _sentence(box: str) -> str:
    """The text of tyro's boxed error message, in one line and without the title."""
    lines = [_BOX.sub(" ", line).strip() for line in box.splitlines()[1:]]
    text = " ".join(" ".join(lines).split())
    for end in (" Argument helptext:", " For full helptext"):
        text = text.partition(end)[0]
    _, found, words = text.partition("Unrecognized options: ")
    if found and not words.startswith("-"):
        text = f"no flag takes the value {words!r}: leave it out"
        if words.lower() in _TRUTH_VALUES:
            text = (
                f"a flag that is true or false takes no value, not {words!r}: --flag or --no-flag"
            )
    text = _CHOICE.sub(_no_choice, text)
    text = re.sub(r"invalid literal for int\(\) with base 10: '(.*?)'", _no_integer, text)
    return text.removeprefix("Error parsing ")


def _no_choice(match: re.Match[str]) -> str:
    """Say which values a flag takes, and suggest a similar one."""
    value, choices = match[1].strip("'"), re.findall(r"'([^']*)'", match[3])
    close = nearest(value, choices)
    hint = f": did you mean {close[0]}?" if close else ""
    return f"{match[2]} must be one of {', '.join(choices)}, not {value!r}{hint}"


def _no_integer(match: re.Match[str]) -> str:
    """Say that a word is not an integer, and how to write a number such as 1e5."""
    said = f"'{match[1]}' is no whole number"
    try:
        number = float(match[1])
    except ValueError:
        return said
    is_exact = number.is_integer() and abs(number) < 2**53
    return f"{said}: write {number:.0f}" if is_exact else said


def _check_flags(argv: Sequence[str], form: type[Any]) -> None:
    """Raise ``UsageError``, which suggests similar flags, if the dataclass lacks a flag."""
    known = flag_paths(form)
    given: dict[str, str] = {}
    for flag in flag_words(argv):
        path = known.get(canonical(flag), flag)
        if given.setdefault(path, canonical(flag)) != canonical(flag):
            raise UsageError(f"{flag} contradicts --{given[path]}: leave one of them out")
    for flag in flag_words(argv):
        name = canonical(flag)
        if name in ("help", *known) or name.startswith("tyro-"):
            continue
        near = " or ".join(f"--{candidate}" for candidate in nearest(name, list(known)))
        hint = f": did you mean {near}?" if near else ";"
        raise UsageError(f"there is no flag {flag} here{hint} --help lists all flags")


def unchecked(form: type[Any], *extra: tuple[str, Any, Any]) -> type[Any]:
    """Make a dataclass with the fields of ``form`` and more, but without its ``__post_init__``.

    The ``__post_init__`` of a config checks the values. If it raised an error while tyro parses,
    tyro would print the error in a box. The config is made from the parsed values afterward; its
    checks then raise an error that we report in a sentence.

    Args:
        extra: name, type and default of each further field.
    """
    return make_dataclass(
        form.__name__,
        extra,
        bases=(form,),
        namespace={"__post_init__": lambda _: None, "__doc__": form.__doc__},
        frozen=True,
        kw_only=True,
    )
