"""Check whether torch records or transforms operations, which only plain torch code supports."""

import torch
from torch import Tensor


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
    """Return whether ``is_traced``, or whether autocast is on for the inputs' device."""
    kind = inputs.device.type
    return is_traced() or (
        torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    )
