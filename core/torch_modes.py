"""Modes of torch that only the eager backend supports, such as tracing and autocast."""

import torch
from torch import Tensor
from torch.autograd import forward_ad


def is_transforming() -> bool:
    """Return whether torch records or transforms the operations instead of just running them.

    It does so in ``torch.jit.trace``, ``torch.export``, ``torch.compile`` and ``torch.func``. The
    control flow must then not depend on the values of tensors.
    """
    return (
        torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
    )


def needs_eager(inputs: Tensor) -> bool:
    """Return whether a mode is active that only the eager backend supports.

    These modes are those of ``is_transforming``, autocast, and forward-mode differentiation.
    """
    return is_transforming() or is_autocast(inputs.device) or forward_ad._current_level >= 0


def is_autocast(device: torch.device) -> bool:
    """Return whether autocast is enabled for a device."""
    kind = device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
