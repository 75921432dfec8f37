"""Checks that the content of a checkpoint has the keys, types and shapes that the run saves."""

import math
from collections.abc import Collection

import torch
from torch import Tensor

from plasticrl.runs.errors import RunError

LARGEST = 1e15
"""The largest count, number of seconds or learning rate that a run saves."""


def check_like(value: object, template: object, where: str) -> None:
    """Check that nested data has the same keys, lengths, types, shapes and dtypes as a template.

    Args:
        value: the loaded data.
        template: nested dicts, lists and tuples of tensors, int, float, str, bool and None.
        where: the name of ``value`` in messages.

    Raises:
        RunError: there is a difference, or a float in ``value`` is not finite.
    """
    if type(value) is not type(template):
        wanted, found = type(template).__name__, type(value).__name__
        raise RunError(f"{where} must be of type {wanted}, not {found}")
    if isinstance(template, Tensor):
        assert isinstance(value, Tensor)
        _check_tensor(value, template, where)
    elif isinstance(template, dict):
        assert isinstance(value, dict)
        _check_keys(value.keys(), template.keys(), where)
        for key, part in template.items():
            check_like(value[key], part, f"{where}.{key}")
    elif isinstance(template, list | tuple):
        assert isinstance(value, list | tuple)
        if len(value) != len(template):
            raise RunError(f"{where} must have {len(template)} parts, not {len(value)}")
        for index, part in enumerate(template):
            check_like(value[index], part, f"{where}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise RunError(f"{where} must be finite, not {value}")


def _check_keys(keys: Collection[object], expected: Collection[object], where: str) -> None:
    if missing := [key for key in expected if key not in keys]:
        raise RunError(f"{where} has no {_some(missing)}")
    if unknown := [key for key in keys if key not in expected]:
        raise RunError(f"{where} has {_some(unknown)}, which this run does not save")


def _some(keys: list[object]) -> str:
    """The first three keys, shortened, and the number of further keys."""
    first = ", ".join(f"{key!r:.60}" for key in keys[:3])
    return first if len(keys) <= 3 else f"{first} and {len(keys) - 3} more"


def _check_tensor(value: Tensor, template: Tensor, where: str) -> None:
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        raise RunError(f"{where} must be a plain tensor")
    if (value.shape, value.dtype) != (template.shape, template.dtype):
        raise RunError(
            f"{where} must be {tuple(template.shape)} of {template.dtype}, "
            f"not {tuple(value.shape)} of {value.dtype}"
        )
    if value.is_floating_point() and not torch.isfinite(value).all():
        raise RunError(f"{where} is not finite")


_OPTIMIZER_STATE: dict[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.RMSprop: {"step", "square_avg"},
    torch.optim.SGD: {"momentum_buffer"},
}
"""The keys of an optimizer's state for each parameter that has had a gradient."""


NOT_NEGATIVE = {"step", "exp_avg_sq", "square_avg"}
"""The keys of an optimizer's state whose values are never negative."""


def check_optimizer(state: object, optimizer: torch.optim.Optimizer, where: str) -> None:
    """Check the saved state of an optimizer against the optimizer that is to load it.

    Args:
        state: what ``state_dict`` gave.
        optimizer: an optimizer of the same parameters and options; the learning rate may differ.
        where: the name of ``state`` in messages.

    Raises:
        RunError: the saved state does not fit the optimizer.
    """
    (kept,) = (kept for form, kept in _OPTIMIZER_STATE.items() if isinstance(optimizer, form))
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = state["state"] if isinstance(state, dict) and "state" in state else {}
    if not isinstance(numbers, dict) or not numbers.keys() <= set(range(len(parameters))):
        raise RunError(f"{where}.state is not that of {len(parameters)} parameters")
    forms = {
        number: {name: _like(parameters[number], name, numbers[number]) for name in sorted(kept)}
        for number in numbers
    }
    check_like(state, {**optimizer.state_dict(), "state": forms}, where)
    assert isinstance(state, dict)
    for number, values in state["state"].items():
        for name in NOT_NEGATIVE & values.keys():
            if (values[name] < 0).any():
                raise RunError(f"{where}.state.{number}.{name} has a negative number")
    groups = optimizer.state_dict()["param_groups"]
    for saved, ours in zip(state["param_groups"], groups, strict=True):
        check_at_least(0, **{f"{where}: lr": saved["lr"]})
        for name, option in ours.items():
            if name != "lr" and saved[name] != option:
                raise RunError(f"{where}: {name} must be {option!r}, not {saved[name]!r}")


def _like(parameter: Tensor, name: str, saved: object) -> Tensor | None:
    """A template of what an optimizer stores for a parameter under the key ``name``."""
    if isinstance(saved, dict) and name == "momentum_buffer" and saved.get(name) is None:
        return None
    return torch.zeros(()) if name == "step" else parameter.detach()


def check_at_least(minimum: float, **values: object) -> None:
    """Raise ``RunError`` unless every value is a number from ``minimum`` to ``LARGEST``."""
    for name, value in values.items():
        if type(value) not in (int, float) or not minimum <= value <= LARGEST:  # type: ignore[operator]
            raise RunError(f"{name} must be a number from {minimum} to {LARGEST:g}")
