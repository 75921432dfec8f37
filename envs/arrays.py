"""Arrays of the environments: numpy's, or torch tensors on a device, under one and the same code.

Everything that moves in an environment is a NamedTuple of arrays whose first axis is the row
(one row, one independent environment), so one step of the code is one step of all rows. What the
code calls is the array API's, in the namespace ``xp`` of the batch; its operators may mix kinds
(int64 + bool), which both libraries understand alike.
"""

from typing import Any, NamedTuple, TypeAlias, TypeVar

import array_api_compat.numpy
import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any  # of numpy, or of torch on the batch's device
Ints: TypeAlias = Array  # int64
Floats: TypeAlias = Array  # float64
Bools: TypeAlias = Array
Observations: TypeAlias = Array  # float32

HostArray: TypeAlias = NDArray[Any]
Frame: TypeAlias = NDArray[np.uint8]
Info: TypeAlias = dict[str, Any]

StateT = TypeVar("StateT", bound=NamedTuple)


def namespace(device: str | None) -> Any:
    """Return the array API of numpy (None), or that of torch, which is imported here.

    Raises:
        ValueError: torch has no such device, or not on this machine.
    """
    if device is None:
        return array_api_compat.numpy
    from array_api_compat import torch

    xp: Any = torch
    try:
        xp.zeros(1, dtype=xp.float64, device=device)
    except (AssertionError, RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"device must be None or a device of this machine such as 'cpu', got {device!r}: "
            f"{reason}"
        ) from None
    return xp


def to_host(array: Array) -> HostArray:
    """Copy an array of either library into one of numpy's."""
    if isinstance(array, np.ndarray):
        return array.copy()
    host: HostArray = array.cpu().numpy()
    return host.copy() if array.device.type == "cpu" else host


def select(xp: Any, mask: Bools, new: StateT, old: StateT) -> StateT:
    """Take the rows of ``new`` where ``mask`` (B,) is true and those of ``old`` elsewhere."""
    return type(old)._make(
        kept if taken is kept else xp.where(mask.reshape(-1, *([1] * (kept.ndim - 1))), taken, kept)
        for taken, kept in zip(new, old, strict=True)
    )


def rows_of(table: Array, index: Ints) -> Array:
    """Look up ``table[index]`` along the first axis of a table of vectors.

    numpy's ``take`` is three times as fast as its indexing. (Not so for a table of numbers.)
    """
    return table.take(index, axis=0) if isinstance(table, np.ndarray) else table[index]


def any_of(mask: Bools) -> bool:
    """Whether an entry is true, on the host; counting is faster than ``any`` for a few entries."""
    return bool(np.count_nonzero(mask))
