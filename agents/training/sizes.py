"""The memory that an agent's run needs."""

import math

import torch

from plasticrl.agents.training.config import TrainConfig
from plasticrl.core import build_cell
from plasticrl.core.state import leaves
from plasticrl.runs.memory import check_memory

NUMBERS_PER_WEIGHT = 4
"""The weight, its gradient and Adam's two moments."""


def check_run_memory(config: TrainConfig, n_seeds: int = 1) -> None:
    """Raise ``UsageError`` if runs that are trained together need more memory than there is.

    The estimate counts the weights, the activity of a rollout, and the states of all environments:
    at the rollout's start and end, and at the checkpoints for the backward pass. It does not count
    observations.
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
    numbers = (
        n_seeds * n_cores * (NUMBERS_PER_WEIGHT * weights + n_envs * (kept * state + activity))
    )
    hidden_size = getattr(config.core, "hidden_size", 0)
    sizes = [f"{n_seeds} seeds"] if n_seeds > 1 else []
    sizes += [f"core.hidden_size={hidden_size}"]
    sizes += [f"core.num_layers={n_layers}"] if n_layers > 1 else []
    sizes += [f"n_envs={n_envs}", f"{config.name}.n_steps={n_steps}"]
    check_memory(numbers * torch.float32.itemsize, ", ".join(sizes))


def _input_size(config: TrainConfig) -> int:
    """The size of the core's input if its ``input_mode`` determines it, otherwise 1."""
    mode = getattr(config.core, "input_mode", "weights")
    widths = {"additive": 1, "clamped": 2}
    return widths[mode] * getattr(config.core, "hidden_size", 1) if mode in widths else 1
