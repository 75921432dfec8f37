"""Check whether torch records or transforms operations, which only plain torch code supports."""

import torch
from torch import Tensor
from torch.autograd import forward_ad


def is_traced() -> bool:
    """Return whether torch records or transforms the operations instead of just running them.

    It does so in ``torch.jit.trace``, ``torch.export``, ``torch.compile`` and ``torch.func``. Code
    must then not depend on the values of tensors.
    """
    return (
        torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
    )


def is_observed(inputs: Tensor) -> bool:
    """Whether operations on these inputs are recorded, or change their precision by autocast."""
    return is_traced() or is_autocast(inputs.device) or forward_ad._current_level >= 0


def is_autocast(device: torch.device) -> bool:
    """Whether autocast changes the precision of operations on a device."""
    kind = device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
