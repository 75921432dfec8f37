"""Parses flags into dataclasses with tyro, and turns tyro's errors into one sentence."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import fields, is_dataclass, make_dataclass
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any, TypeVar, get_type_hints

import tyro

from plasticrl.core import OptionError
from plasticrl.runs import RunError, UsageError

T = TypeVar("T")

N_NEAREST = 3
LEAST_SIMILARITY = 0.6
"""The similarity, from 0 to 1, that a flag or preset must have to be suggested for a typo."""
_TRUTH_VALUES = ("true", "false", "yes", "no", "on", "off", "1", "0")
_WITHOUT_FLAG = (tyro.conf.Positional, tyro.conf.Suppress)
_SETTING = re.compile(r"(?<![\w./-])([a-z]\w*(?:\.\w+)*)(?:=('[^']*'|[^\s,;:]+))?")
_BOX = re.compile(r"[│╭╮╰╯─━┃┏┓┗┛|+]|-{3,}")


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
        default: the values of flags that are not given; None: the defaults of the dataclass.
        prog: the command as the user types it, for ``--help``.
        description: the description of the command, for ``--help``.

    Raises:
        UsageError: a flag does not exist, or has a wrong value; the message names it.
        SystemExit: after ``--help``, with status 0.
    """
    check_flags(argv, form)
    start = tyro.MISSING_NONPROP if default is None else default
    errors = io.StringIO()
    try:
        with redirect_stderr(errors):
            return tyro.cli(form, prog=prog, args=argv, default=start, description=description)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(_sentence(errors.getvalue())) from None


def _sentence(box: str) -> str:
    """The text of tyro's boxed error message, in one line and without the title."""
    lines = [_BOX.sub(" ", line).strip() for line in box.splitlines()[1:]]
    text = " ".join(" ".join(lines).split())
    for end in (" Argument helptext:", " For full helptext"):
        text = text.partition(end)[0]
    _, found, words = text.partition("Unrecognized options: ")
    if found and not words.startswith("-"):
        text = f"{words!r} is not a value of any flag: leave it out"
        if words.lower() in _TRUTH_VALUES:
            text = (
                f"a flag that is true or false takes no value, not {words!r}: --flag or --no-flag"
            )
    return text.removeprefix("Error parsing ")


def flag_words(argv: Sequence[str]) -> list[str]:
    """The words before a bare ``--`` that begin with ``--``, without ``=VALUE``."""
    words = takewhile(lambda word: word != "--", argv)
    return [word.partition("=")[0] for word in words if word.startswith("--")]


def check_flags(argv: Sequence[str], form: type[Any]) -> None:
    """Raise ``UsageError``, with similar flags, for a flag that the dataclass does not have."""
    known = flag_paths(form)
    for flag in flag_words(argv):
        name = _canonical(flag)
        if name in ("help", *known) or name.startswith("tyro-"):
            continue
        near = " or ".join(f"--{candidate}" for candidate in nearest(name, list(known)))
        hint = f": did you mean {near}?" if near else ";"
        raise UsageError(f"there is no flag {flag} here{hint} --help lists all flags")


def given_values(argv: Sequence[str], arguments: Any) -> dict[str, Any]:
    """The parsed values of the flags in ``argv``, by the dotted names of their fields."""
    paths = flag_paths(type(arguments))
    given = {paths[name]: None for name in map(_canonical, flag_words(argv)) if name in paths}
    return {path: _get(arguments, path) for path in given}


def flag_paths(form: type[Any], prefix: str = "", path: str = "") -> dict[str, str]:
    """All flags of a dataclass: the flag's name -> the dotted name of the field that it sets."""
    hints, paths = get_type_hints(form, include_extras=True), dict[str, str]()
    for item in fields(form):
        hint, name = hints[item.name], prefix + item.name.replace("_", "-")
        markers = getattr(hint, "__metadata__", ())
        plain = getattr(hint, "__origin__", hint)
        if is_dataclass(plain):
            below = prefix if tyro.conf.OmitArgPrefixes in markers else f"{name}."
            paths |= flag_paths(plain, below, f"{path}{item.name}.")  # type: ignore[arg-type]
        elif not any(marker in _WITHOUT_FLAG for marker in markers):
            paths[name] = path + item.name
            if plain is bool:
                paths[f"{prefix}no-{item.name.replace('_', '-')}"] = path + item.name
    return paths


@contextmanager
def flags_in_errors(form: type[Any]) -> Iterator[None]:
    """A context that replaces the names of settings in error messages by their flags.

    The library writes ``n_steps must be ...``, ``a2c.n_steps`` or ``n_steps=50``; the user of a
    command types ``--a2c.n-steps 50``. The flags are those of the dataclass ``form``.

    Raises:
        UsageError: instead of a ``UsageError`` or ``OptionError``.
    """
    try:
        yield
    except RunError:  # it is about a file, whose name may look like a setting
        raise
    except (UsageError, OptionError) as error:
        raise UsageError(with_flags(str(error), form)) from error


def with_flags(message: str, form: type[Any]) -> str:
    """Replace the names of settings in a message by the flags of a dataclass."""
    flags = {path: f"--{flag}" for flag, path in reversed(flag_paths(form).items())}
    short = {path.rpartition(".")[2]: flag for path, flag in flags.items()}

    def flag_of(match: re.Match[str]) -> str:
        name, value = match.groups()
        if not (match.start() == 0 or value is not None or "." in name):
            return match.group()
        flag = flags.get(name) or short.get(name)
        if flag is None:
            return match.group()
        if value is None or value == "True":
            return flag
        return _negated(flag) if value == "False" else f"{flag} {value.strip(chr(39))}"

    return _SETTING.sub(flag_of, message)


def _negated(flag: str) -> str:
    """The flag that sets an option to false: ``--core.no-fan-out`` for ``--core.fan-out``."""
    parts, dot, option = flag.removeprefix("--").rpartition(".")
    return f"--{parts}{dot}no-{option}"


def nearest(word: str, candidates: Sequence[str]) -> list[str]:
    """The candidates most similar to a word, the most similar first.

    A dotted name is also compared by its last part, so that ``gamma`` finds ``a2c.gamma``.
    """

    def similarity(candidate: str) -> float:
        names = (candidate, candidate.rpartition(".")[2])
        return max(SequenceMatcher(None, word, name).ratio() for name in names)

    ordered = sorted(candidates, key=similarity, reverse=True)
    return [name for name in ordered[:N_NEAREST] if similarity(name) >= LEAST_SIMILARITY]


def unchecked(form: type[Any], *extra: tuple[str, Any, Any]) -> type[Any]:
    """A dataclass with the same fields and further ones, but without the checks of their values.

    tyro would print an error of these checks in a box. The config itself is made from the parsed
    values afterward, and that runs the checks.
    """
    return make_dataclass(
        form.__name__,
        extra,
        bases=(form,),
        namespace={"__post_init__": lambda _: None, "__doc__": form.__doc__},
        frozen=True,
        kw_only=True,
    )


def _canonical(flag: str) -> str:
    return flag[2:].replace("_", "-")


def _get(arguments: Any, path: str) -> Any:
    for name in path.split("."):
        arguments = getattr(arguments, name)
    return arguments
