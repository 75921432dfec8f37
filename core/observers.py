"""Whether torch follows or replaces single operations, so that only plain ones will do."""

import torch
from torch import Tensor


def is_traced() -> bool:
    """Whether operations are recorded for later, when their numbers will be others.

    So it is in ``torch.jit.trace``, ``torch.export``, ``torch.compile`` and ``torch.func``.
    """
    return (
        torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
    )


def is_observed(inputs: Tensor) -> bool:
    """Whether operations on such inputs are recorded, or run in another precision by autocast."""
    kind = inputs.device.type
    return is_traced() or (
        torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    )
