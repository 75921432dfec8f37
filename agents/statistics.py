"""Statistics of the plastic connections, for the log."""

import math
from typing import Any

import torch
from torch import Tensor

from plasticrl.core import Cell


@torch.no_grad()
def plasticity_statistics(
    core: Cell[Any], state: Any, modulating: Tensor | None
) -> dict[str, float]:
    """Return scalars for the log; none for a core without plastic connections.

    Args:
        state: the core's state at the rollout's end.
        modulating: the activity that the neuromodulator read in the rollout, (T, B, N); None if
            there is no neuromodulator.

    Returns:
        ``alpha_abs_mean`` and ``trace_abs_mean``; ``trace_saturation``, the share of traces at
        their limit, if they have one; ``eta``, if the connection has one; ``modulation_mean`` and
        ``modulation_std``, if there is a neuromodulator.
    """
    connection = core.connection
    if connection is None:
        return {}
    trace = state.trace.abs()
    statistics = {
        "alpha_abs_mean": connection.alpha.abs().mean().item(),
        "trace_abs_mean": trace.mean().item(),
    }
    if connection.trace_limit < math.inf:
        saturated = trace >= connection.trace_limit
        statistics["trace_saturation"] = saturated.float().mean().item()
    if connection.eta is not None:
        statistics["eta"] = connection.eta.item()
    modulation = None if modulating is None else connection.modulation(modulating)
    if modulation is not None:
        statistics["modulation_mean"] = modulation.mean().item()
        statistics["modulation_std"] = modulation.std(correction=0).item()
    return statistics
