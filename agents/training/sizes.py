"""The memory that an agent's run needs."""

import math

import torch

from plasticrl.agents.training.config import TrainConfig
from plasticrl.core import build_cell
from plasticrl.core.state import leaves
from plasticrl.runs.memory import check_memory

COPIES = 4
"""A weight with its gradient and Adam's two moments."""


def check_run_memory(config: TrainConfig) -> None:
    """Raise ``UsageError`` if a run needs more memory than there is.

    Counted are the weights, the states of all environments at the rollout's start and end and those
    that the backward pass keeps, and the activity of a rollout. Observations are not counted.
    """
    n_envs, n_steps = config.n_envs, config.algorithm.n_steps
    with torch.device("meta"):  # allocates nothing
        cell = build_cell(config.core, _input_size(config))
        state = sum(leaf.numel() for leaf in leaves(cell.initial_state(1)))
    weights = sum(parameter.numel() for parameter in cell.parameters())
    kept = 2 + math.isqrt(max(1, n_steps // 2)) if cell.connections else 2
    n_layers = getattr(config.core, "num_layers", 1)
    activity = 2 * n_steps * n_layers * cell.hidden_size
    n_cores = 1 if config.algorithm.share_features_extractor else 2
    numbers = n_cores * (COPIES * weights + n_envs * (kept * state + activity))
    hidden_size = getattr(config.core, "hidden_size", 0)
    layers = f"core.num_layers={n_layers}, " if n_layers > 1 else ""
    check_memory(
        numbers * torch.float32.itemsize,
        f"core.hidden_size={hidden_size}, {layers}n_envs={n_envs}, {config.name}.n_steps={n_steps}",
    )


def _input_size(config: TrainConfig) -> int:
    """The width of the core's input, where its options decide about it; otherwise the least."""
    mode = getattr(config.core, "input_mode", "weights")
    widths = {"additive": 1, "clamped": 2}
    return widths[mode] * getattr(config.core, "hidden_size", 1) if mode in widths else 1
