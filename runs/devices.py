"""Checks the device of a run."""

import torch

from plasticrl.runs.errors import UsageError


def check_device(device: str, instead: str) -> None:
    """Raise ``UsageError`` if torch cannot use ``device``; the message suggests ``instead``.

    "auto" is always available.
    """
    if device == "auto":
        return
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0]
        raise UsageError(
            f"device {device!r} is not available here, use {instead}: {first_line}"
        ) from error
