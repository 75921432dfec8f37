"""Statistics of the plastic connections, for the log."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from plasticrl.core import Cell


@torch.no_grad()
def plasticity_statistics(
    cells: Sequence[tuple[Cell[Any], Any]], modulating_activities: Sequence[Tensor | None]
) -> dict[str, float]:
    """Return scalars for the log, each over all cells; none if there are no cells.

    Args:
        cells: cells with a plastic connection, each with its state at the rollout's end.
        modulating_activities: for each cell, the activity (T, B, N) that its neuromodulator read in
            the rollout; None if it has no neuromodulator.

    Returns:
        ``alpha_abs_mean`` and ``trace_abs_mean``; ``trace_saturation``, the share of traces at
        their limit, if they have one; ``eta``, if the connections have one; ``modulation_mean`` and
        ``modulation_std``, if there is a neuromodulator.
    """
    found: dict[str, list[Tensor]] = defaultdict(list)
    for (cell, state), activity in zip(cells, modulating_activities, strict=True):
        connection, trace = cell.connection, state.trace.abs()
        assert connection is not None
        found["alpha_abs_mean"].append(connection.alpha.abs())
        found["trace_abs_mean"].append(trace)
        if connection.trace_limit < math.inf:
            found["trace_saturation"].append((trace >= connection.trace_limit).float())
        if connection.eta is not None:
            found["eta"].append(connection.eta)
        modulation = None if activity is None else connection.modulation(activity)
        if modulation is not None:
            found["modulation_mean"].append(modulation)
    pooled = {name: torch.cat([part.flatten() for part in parts]) for name, parts in found.items()}
    statistics = {name: values.mean().item() for name, values in pooled.items()}
    if "modulation_mean" in pooled:
        statistics["modulation_std"] = pooled["modulation_mean"].std(correction=0).item()
    return statistics
