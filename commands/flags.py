"""The flags that a dataclass has: their names, and their place in messages."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any, get_type_hints

import tyro

from plasticrl.agents.training.config import NotAllowedError
from plasticrl.core import OptionError
from plasticrl.runs import DivergedError, RunError, UsageError

N_NEAREST = 3
"""The largest number of flags or presets that are suggested for a typo."""
LEAST_SIMILARITY = 0.6
"""The similarity, from 0 to 1, that a flag or preset must have to be suggested for a typo."""
MOST_DISTANCE = 0.2
"""By how much the similarity of a suggestion may be below that of the best one."""
_WITHOUT_FLAG = (tyro.conf.Positional, tyro.conf.Suppress)
"""tyro's markers of the fields that have no flag."""
_SETTING = re.compile(r"(?<![\w./-])([a-z]\w*(?:\.\w+)*)(?:=('[^']*'|[^\s,;:]*[^\s,;:.]))?")
"""A word in a message that may name a setting, and its value if ``=VALUE`` follows."""


def flag_words(argv: Sequence[str]) -> list[str]:
    """The flags in ``argv``, without ``=VALUE``. Words after a bare ``--`` are not flags."""
    words = takewhile(lambda word: word != "--", argv)
    return [word.partition("=")[0] for word in words if word.startswith("--")]


def given_values(argv: Sequence[str], arguments: Any) -> dict[str, Any]:
    """Return the values of the flags that the user has typed, by the dotted names of their fields.

    Args:
        argv: what the user has typed.
        arguments: the dataclass into which ``argv`` was parsed.
    """
    paths = flag_paths(type(arguments))
    given = {paths[name]: None for name in map(canonical, flag_words(argv)) if name in paths}
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
        return negated(flag) if value == "False" else f"{flag} {value.strip(chr(39))}"

    return _SETTING.sub(flag_of, message)


def negated(flag: str) -> str:
    """The flag that sets an option to false: ``--core.no-fan-out`` for ``--core.fan-out``."""
    parts, dot, option = flag.removeprefix("--").rpartition(".")
    return f"--{parts}{dot}no-{option}"


def nearest(word: str, candidates: Sequence[str]) -> list[str]:
    """The candidates that are similar to a word, at most ``N_NEAREST``, best first.

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

    scores = {name: similarity(name) for name in candidates}
    least = max(LEAST_SIMILARITY, max(scores.values(), default=0.0) - MOST_DISTANCE)
    ordered = sorted(scores, key=scores.__getitem__, reverse=True)
    return [name for name in ordered[:N_NEAREST] if scores[name] >= least]


def canonical(flag: str) -> str:
    """The name of a flag: ``n-envs`` for ``--n_envs`` or ``--n-envs``."""
    return flag[2:].replace("_", "-")


def _get(arguments: Any, path: str) -> Any:
    for name in path.split("."):
        arguments = getattr(arguments, name)
    return arguments
