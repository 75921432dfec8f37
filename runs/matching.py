"""Checks that the content of a checkpoint has the keys, types and shapes that the run saves."""

import math
from collections.abc import Collection

import torch
from torch import Tensor

from plasticrl.runs.errors import RunError


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
    """The first three keys, each shortened, and the number of the others."""
    first = ", ".join(f"{key!r:.60}" for key in keys[:3])
    return first if len(keys) <= 3 else f"{first} and {len(keys) - 3} more"


def _check_tensor(value: Tensor, template: Tensor, where: str) -> None:
    if value.layout != template.layout or value.is_quantized or value.is_nested:
        raise RunError(f"{where} must be a plain tensor")
    if (value.shape, value.dtype) != (template.shape, template.dtype):
        raise RunError(
            f"{where} must be {tuple(template.shape)} of {template.dtype}, "
            f"not {tuple(value.shape)} of {value.dtype}"
        )
    if value.is_floating_point() and not torch.isfinite(value).all():
        raise RunError(f"{where} is not finite")


def check_optimizer(
    state: object, optimizer: torch.optim.Optimizer, has_stepped: bool, where: str
) -> None:
    """Check that ``optimizer`` can load a saved state.

    If ``has_stepped``, the optimizer makes a step here, because it has no state to compare with
    before its first. This changes the parameters, so load their saved values afterward.

    Args:
        state: the saved ``state_dict``.
        optimizer: a new optimizer. Its options must be as saved, except for the learning rate.
        has_stepped: whether the saved optimizer had made a step.
        where: the name of ``state`` in messages.

    Raises:
        RunError: ``state`` is not what this optimizer would save.
    """
    if has_stepped:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad()
    template = optimizer.state_dict()
    check_like(state, template, where)
    assert isinstance(state, dict)
    for saved, ours in zip(state["param_groups"], template["param_groups"], strict=True):
        for name, option in ours.items():
            if name != "lr" and saved[name] != option:
                raise RunError(f"{where}: {name} must be {option!r}, not {saved[name]!r}")


def check_at_least(minimum: float, **values: object) -> None:
    """Raise ``RunError`` unless every value is a finite number of at least ``minimum``."""
    for name, value in values.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not minimum <= float(value) < math.inf:  # type: ignore[arg-type]
            raise RunError(f"{name} must be a finite number of at least {minimum}")
