"""Error messages for numbers that are not finite, with the cause and a remedy."""

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import torch
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from plasticrl.core import Cell


class Network(Protocol):
    """The part of ``PlasticPolicy`` that these functions use."""

    core: Cell[Any]

    def named_parameters(self) -> Iterable[tuple[str, nn.Parameter]]: ...


def describe_activity(policy: Network, obs: PyTorchObs) -> str:
    """Say why the net's activity is not finite.

    Args:
        obs: the net's input, (B, ...) or a dict of such tensors.
    """
    for name, values in obs.items() if isinstance(obs, dict) else [("", obs)]:
        broken = np.flatnonzero(~torch.isfinite(values).flatten(1).all(dim=1).cpu().numpy())
        if len(broken):
            part = f" (its part {name!r})" if name else ""
            return f"environment {broken[0]} gave an observation{part} that is not finite"
    for name, parameter in policy.named_parameters():
        if not torch.isfinite(parameter).all():
            return f"the weights {name} are not finite: lower the learning rate"
    return f"the net's activity is not finite: {_advice(policy)}"


def describe_rewards(rewards: np.ndarray) -> str | None:
    """Name the first of the rewards (B,) that is not finite; None if all are finite."""
    if np.isfinite(rewards).all():
        return None
    row = int(np.flatnonzero(~np.isfinite(rewards))[0])
    return f"environment {row} gave the reward {rewards[row]}"


def describe_gradient(policy: Network, losses: dict[str, Tensor]) -> str:
    """Say why the gradient is not finite; ``losses`` are the parts of the loss, by name."""
    for name, loss in losses.items():
        if not torch.isfinite(loss):
            return f"the {name} loss is {loss.item()}: {_advice(policy)}"
    for name, parameter in policy.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            return f"the gradient of {name} is not finite: {_advice(policy)}"
    return f"the gradient's norm is too large for its number type: {_advice(policy)}"


def _advice(policy: Network) -> str:
    connection = policy.core.connection
    if connection is None or connection.plasticity.bound in ("hard", "soft"):
        return "lower the learning rate"
    return "lower the learning rate, or bound the trace (bound='hard' or 'soft')"
