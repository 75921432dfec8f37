"""Conversion of frozen dataclasses to JSON data and back, with strict validation.

The type of a field may be int, float, str, bool, None, a Literal, another dataclass,
``tuple[X, ...]``, ``dict[str, X]``, or a union of these. If a dataclass has a class attribute
``name``, its JSON data include it. A field whose type is a base class of several such
dataclasses holds one of them; its name decides which class is built.

A field with ``if_missing`` in its metadata may be missing in the data, and then has that value. It
is for fields that were added later: the value is what older runs did.
"""

import dataclasses
import math
import types
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from plasticrl.runs.errors import RunError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Config = TypeVar("Config", bound=DataclassInstance)
else:
    Config = TypeVar("Config")

_SCALARS = {
    int: "an integer",
    float: "a finite number",
    str: "a string",
    bool: "true or false",
    types.NoneType: "null",
}


def to_dict(config: "DataclassInstance", where: str = "config") -> dict[str, Any]:
    """Convert a dataclass to dicts, lists and scalars for JSON.

    The result is decoded again as a check, so that it can be read later.

    Raises:
        RunError: a field has a value that its type does not allow.
    """
    data: dict[str, Any] = _encode(config)
    from_dict(type(config), data, where)
    return data


def from_dict(cls: type[Config], data: object, where: str = "config") -> Config:
    """Build the dataclass ``cls`` from JSON data, which must have exactly its fields and types.

    Args:
        cls: the dataclass, or a base class of named dataclasses; ``data["name"]`` then selects one.
        where: the name of ``data`` in messages, as in ``config.core.hidden_size must be ...``.

    Raises:
        RunError: a field is missing, unknown, of the wrong type, or rejected by ``cls``.
        TypeError: ``cls`` has a field of a type that is not supported.
    """
    if not isinstance(data, dict):
        raise RunError(f"{where} must be an object, not {data!r}")
    cls = _class_named_by(data, cls, where)
    if _name_of(cls) is not None:
        data = {key: value for key, value in data.items() if key != "name"}
    names = [field.name for field in dataclasses.fields(cls)]
    for key in data:
        if key not in names:
            raise RunError(f"{where}.{key} is unknown; known are {', '.join(names)}")
    for field in dataclasses.fields(cls):
        if field.name not in data and "if_missing" not in field.metadata:
            raise RunError(f"{where}.{field.name} is missing")
    hints = get_type_hints(cls)
    fields = {
        field.name: _decode(hints[field.name], data[field.name], f"{where}.{field.name}")
        if field.name in data
        else field.metadata["if_missing"]
        for field in dataclasses.fields(cls)
    }
    try:
        return cls(**fields)
    except ValueError as error:
        raise RunError(f"{where}: {error}") from error


def flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested dicts to dotted names such as ``core.hidden_size``; lists become strings."""
    leaves: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, dict):
            leaves |= flat(value, f"{prefix}{name}.")
        else:
            leaves[f"{prefix}{name}"] = str(value) if isinstance(value, list) else value
    return leaves


def _name_of(cls: type[Any]) -> str | None:
    """The class attribute ``name`` of a dataclass; None if it has none, or a field of that name."""
    name = getattr(cls, "name", None)
    is_field = any(field.name == "name" for field in dataclasses.fields(cls))
    return name if isinstance(name, str) and not is_field else None


def _named_subclasses(cls: type[Any]) -> dict[str, type[Any]]:
    """The subclasses of ``cls`` that have a name, by name; empty if ``cls`` itself has a name."""
    if _name_of(cls) is not None:
        return {}
    found: dict[str, type[Any]] = {}
    for subclass in cls.__subclasses__():
        name = _name_of(subclass)
        found |= _named_subclasses(subclass) if name is None else {name: subclass}
    return found


def _class_named_by(data: dict[str, Any], cls: type[Config], where: str) -> type[Config]:
    """The subclass of ``cls`` that ``data["name"]`` selects; ``cls`` if no subclass has a name."""
    subclasses = _named_subclasses(cls)
    if not subclasses:
        return cls
    name = data.get("name")
    if not isinstance(name, str) or name not in subclasses:
        raise RunError(f"{where}.name must be one of {', '.join(subclasses)}, not {name!r}")
    return subclasses[name]


def _encode(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = _name_of(type(value))
        fields = {f.name: _encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return fields if name is None else {"name": name, **fields}
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    return value


def _decode(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _decode(_member(arguments, value, hint, where), value, where)
    if not _fits(hint, value):
        raise RunError(f"{where} must be {_describe(hint)}, not {value!r}")
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value, where)
    if origin is tuple:
        return tuple(
            _decode(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value)
        )
    if origin is dict:
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    return float(value) if hint is float else value


def _member(members: tuple[Any, ...], value: object, hint: Any, where: str) -> Any:
    """Choose the member of a union that fits ``value``. If int and float fit, choose int."""
    fitting = [member for member in members if _fits(member, value)]
    if not fitting:
        raise RunError(f"{where} must be {_describe(hint)}, not {value!r}")
    return next((member for member in fitting if member is type(value)), fitting[0])


def _fits(hint: Any, value: object) -> bool:
    """Whether the outermost type of ``value`` is exactly ``hint``, so that True is not an int."""
    if hint is float:
        return type(value) in (int, float) and _is_finite(value)
    if hint in _SCALARS:
        return type(value) is hint
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return isinstance(value, list | tuple)
    if origin is dict and arguments[0] is str:
        return isinstance(value, dict) and all(type(key) is str for key in value)
    if dataclasses.is_dataclass(hint):
        return isinstance(value, dict)
    raise TypeError(f"a config cannot have a field of type {hint}")


def _is_finite(number: Any) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # the integer is too large for a float
        return False


def _describe(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if origin is Literal:
        return "one of " + ", ".join(repr(choice) for choice in arguments)
    if origin is tuple:
        return "a list"
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(member) for member in arguments)
    return "an object"
