"""Parses flags into dataclasses with tyro, and turns tyro's error boxes into one sentence."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import fields, is_dataclass, make_dataclass
from difflib import SequenceMatcher
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import tyro

from plasticrl.agents.training.config import NotAllowedError
from plasticrl.core import OptionError
from plasticrl.runs import DivergedError, RunError, UsageError

T = TypeVar("T")

N_NEAREST = 3
"""The largest number of flags or presets that are suggested for a typo."""
LEAST_SIMILARITY = 0.6
"""The similarity, from 0 to 1, that a flag or preset must have to be suggested for a typo."""
_TRUTH_VALUES = ("true", "false", "yes", "no", "on", "off", "1", "0")
"""Values that users may give to a boolean flag, which takes none."""
_WITHOUT_FLAG = (tyro.conf.Positional, tyro.conf.Suppress)
"""tyro's markers of the fields that have no flag."""
_SETTING = re.compile(r"(?<![\w./-])([a-z]\w*(?:\.\w+)*)(?:=('[^']*'|[^\s,;:]+))?")
"""A word in a message that may name a setting, and its value if ``=VALUE`` follows."""
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
    check_flags(argv, form)
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
    return parsed


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


def flag_words(argv: Sequence[str]) -> list[str]:
    """The flags in ``argv``, without ``=VALUE``. Words after a bare ``--`` are not flags."""
    words = takewhile(lambda word: word != "--", argv)
    return [word.partition("=")[0] for word in words if word.startswith("--")]


def check_flags(argv: Sequence[str], form: type[Any]) -> None:
    """Raise ``UsageError``, which suggests similar flags, if the dataclass lacks a flag."""
    known = flag_paths(form)
    given: dict[str, str] = {}
    for flag in flag_words(argv):
        path = known.get(_canonical(flag), flag)
        if given.setdefault(path, _canonical(flag)) != _canonical(flag):
            raise UsageError(f"{flag} contradicts --{given[path]}: leave one of them out")
    for flag in flag_words(argv):
        name = _canonical(flag)
        if name in ("help", *known) or name.startswith("tyro-"):
            continue
        near = " or ".join(f"--{candidate}" for candidate in nearest(name, list(known)))
        hint = f": did you mean {near}?" if near else ";"
        raise UsageError(f"there is no flag {flag} here{hint} --help lists all flags")


def given_values(argv: Sequence[str], arguments: Any) -> dict[str, Any]:
    """Return the values of the flags that the user has typed, by the dotted names of their fields.

    Args:
        argv: what the user has typed.
        arguments: the dataclass into which ``argv`` was parsed.
    """
    paths = flag_paths(type(arguments))
    given = {paths[name]: None for name in map(_canonical, flag_words(argv)) if name in paths}
    return {path: _get(arguments, path) for path in given}


def flag_paths(form: type[Any], prefix: str = "", path: str = "") -> dict[str, str]:
    """Map the name of each flag of a dataclass to the dotted name of the field that it sets.

    Args:
        prefix, path: the beginning of the flags' names and of the fields' names.
    """
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
    """A context in which errors name flags instead of the library's settings.

    It applies ``with_flags`` to the message of a ``UsageError``, ``OptionError`` or
    ``DivergedError``.

    Raises:
        UsageError, DivergedError: with the new message.
    """
    try:
        yield
    except NotAllowedError as error:
        advice = f"add --allow-import {' '.join(error.modules)}"
        raise RunError(f"{error.problem}: if you trust it, {advice}") from error
    except RunError:  # the name of a file in its message may look like a setting
        raise
    except (UsageError, OptionError) as error:
        raise UsageError(with_flags(str(error), form)) from error
    except DivergedError as error:
        error.args = (with_flags(str(error), form),)
        raise


def with_flags(message: str, form: type[Any]) -> str:
    """Replace the names of settings in a message of the library by the flags that the user types.

    A word is replaced if the dataclass ``form`` has a field of that name, and if the word either
    begins the message (``n_steps must be ...``), has a dot (``a2c.n_steps``) or has a value
    (``n_steps=50`` becomes ``--a2c.n-steps 50``). Any other word may be a word of the sentence.
    """
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
    """The candidates that are similar to a word, at most ``N_NEAREST``, the most similar first.

    A dotted name is also compared by its last part, so that ``gamma`` finds ``a2c.gamma``. A
    candidate is also similar if its initials or one of its parts are the word, as ``lr`` and
    ``rate`` in ``learning-rate``.
    """

    def similarity(candidate: str) -> float:
        names = (candidate, candidate.rpartition(".")[2])
        parts = names[1].split("-")
        if word in ("".join(part[:1] for part in parts), *parts):
            return 1.0
        return max(SequenceMatcher(None, word, name).ratio() for name in names)

    ordered = sorted(candidates, key=similarity, reverse=True)
    return [name for name in ordered[:N_NEAREST] if similarity(name) >= LEAST_SIMILARITY]


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


def _canonical(flag: str) -> str:
    """The name of a flag: ``n-envs`` for ``--n_envs`` or ``--n-envs``."""
    return flag[2:].replace("_", "-")


def _get(arguments: Any, path: str) -> Any:
    for name in path.split("."):
        arguments = getattr(arguments, name)
    return arguments
