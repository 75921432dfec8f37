"""Devices, as a command names them."""

import torch

from plasticrl.runs.errors import UsageError


def check_device(device: str, instead: str) -> None:
    """Raise ``UsageError`` where torch cannot have this device; it says what will do instead."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0]
        raise UsageError(
            f"device {device!r} is not to be had here, use {instead}: {first_line}"
        ) from error
