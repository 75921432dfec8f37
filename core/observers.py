"""Checks whether torch records or replaces operations, so that plain ones must be used."""

import torch
from torch import Tensor


def is_traced() -> bool:
    """Whether operations are recorded, to be repeated later with other numbers.

    This is the case in ``torch.jit.trace``, ``torch.export``, ``torch.compile`` and ``torch.func``.
    """
    return (
        torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
    )


def is_observed(inputs: Tensor) -> bool:
    """Whether operations on these inputs are recorded, or change their precision by autocast."""
    kind = inputs.device.type
    return is_traced() or (
        torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    )
