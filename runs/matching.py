"""Checks that loaded data has the form of the data that the run itself saves."""

import math

import torch
from torch import Tensor

from plasticrl.runs.errors import RunError


def check_like(value: object, template: object, where: str) -> None:
    """Check that nested data is like a template in keys, lengths, types, shapes and number types.

    Args:
        value: the loaded data.
        template: nested dicts, lists and tuples of tensors, int, float, str, bool and None.
        where: the name of ``value`` in messages.

    Raises:
        RunError: a part is missing, unknown, or of another form, or a number is not finite.
    """
    if type(value) is not type(template):
        wanted, found = type(template).__name__, type(value).__name__
        raise RunError(f"{where} must be of type {wanted}, not {found}")
    if isinstance(template, Tensor):
        assert isinstance(value, Tensor)
        _check_tensor(value, template, where)
    elif isinstance(template, dict):
        assert isinstance(value, dict)
        if value.keys() != template.keys():
            raise RunError(f"{where} has other parts than this run saves")
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
    """Check the saved state of an optimizer against the optimizer that is to load it.

    Args:
        state: the saved ``state_dict``.
        optimizer: an optimizer of the same parameters and options; the learning rate may differ.
            It makes a step, to have a state too, so load its parameters afterward.
        has_stepped: whether the saved optimizer had made a step.
        where: the name of ``state`` in messages.

    Raises:
        RunError: it is not what such an optimizer saves.
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
