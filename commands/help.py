"""Makes the help texts of flags from the docstrings of a dataclass's fields."""

import re
from dataclasses import field, fields, is_dataclass, make_dataclass
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro
from docstring_parser import parse_from_object

from plasticrl.commands.flags import flag_paths, negated, with_flags

_TYPE_NAMES = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}
_MARKED = re.compile(r"``([^`]*)``|\b([a-z]+(?:_[a-z]+)+)\b")
"""Words in double backticks, and names with an underscore."""


def with_help(
    form: type[Any], default: Any = None, *, path: str = "", whole: type[Any] | None = None
) -> type[Any]:
    """Return a dataclass for which tyro's ``--help`` describes the flags of ``form``.

    tyro would show the docstrings of the fields as they stand in the source: with its line breaks,
    and with the names of settings, such as ``n_steps=50`` for the flag ``--a2c.n-steps 50``.

    Args:
        form: a dataclass.
        default: an instance of ``form`` whose values are shown as the defaults; None: those of
            ``form``.
        path: the beginning of the dotted names of the fields, if ``form`` is a part of ``whole``.
        whole: the dataclass of all flags; None: ``form``.
    """
    whole = form if whole is None else whole
    hints, texts = get_type_hints(form, include_extras=True), _docstrings(form)
    described: list[tuple[str, Any, Any]] = []
    for item in fields(form):
        hint, value = hints[item.name], getattr(default, item.name, None)
        plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        markers = getattr(hint, "__metadata__", ())
        start = field(default=item.default, default_factory=item.default_factory)
        text = next((m.help for m in markers if getattr(m, "help", None)), texts.get(item.name))
        if is_dataclass(plain):
            below = f"{path}{item.name}."
            plain = with_help(plain, value, path=below, whole=whole)  # type: ignore[arg-type]
            start = field(default_factory=plain)
        elif default is not None:
            start = field(default_factory=lambda value=value: value)  # type: ignore[misc]
        if text is not None:
            shown = _in_flags(text, f"{path}{item.name}" if plain is bool else None, whole)
            markers += (
                tyro.conf.arg(
                    help=shown,
                    metavar=_optional_type(plain),
                    help_behavior_hint=partial(_default_hint, shown),
                ),
            )
        described.append((item.name, Annotated[(plain, *markers)] if markers else plain, start))
    doc = {"__doc__": form.__doc__}
    return make_dataclass(form.__name__, described, namespace=doc, kw_only=True)


def _default_hint(text: str, label: str) -> str:
    """Return the words about a flag's default that follow its help text.

    Args:
        text: the help text. It explains the value None if it has that word. Otherwise it says what
            happens without the flag.
        label: the default as tyro writes it.
    """
    if label == "":  # an empty list, or no change of a preset's list
        return "" if "preset" in text else "(default: none)"
    if label == "None" and not re.search(r"\bNone\b", text):
        return ""
    return f"(default: {label})"


def _docstrings(form: type[Any]) -> dict[str, str]:
    """The docstrings of a dataclass's fields, those of its base classes included."""
    return {
        entry.arg_name: entry.description
        for base in reversed(form.__mro__)
        if is_dataclass(base)
        for entry in parse_from_object(base).params
        if entry.description
    }


def _in_flags(text: str, boolean: str | None, whole: type[Any]) -> str:
    """Return a docstring in one line, with flags in place of settings.

    Args:
        boolean: the dotted name of the field that the text describes, if it is true or false.
        whole: the dataclass of all flags.
    """
    flags = {path: flag for flag, path in reversed(flag_paths(whole).items())}
    short = {path.rpartition(".")[2]: flag for path, flag in flags.items()}

    def flag_of(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        return f"--{short[name]}" if name in short else name

    line = with_flags(_MARKED.sub(flag_of, " ".join(text.split())), whole)
    return line if boolean is None else re.sub(r"\bFalse\b", negated(f"--{flags[boolean]}"), line)


def _optional_type(hint: Any) -> str | None:
    """The metavar of a flag that also accepts the word None; tyro's own has braces."""
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    if NoneType not in get_args(hint) or len(kinds) != 1:
        return None
    return _TYPE_NAMES.get(kinds[0])
