"""Error messages for numbers that are not finite, with the cause and a remedy."""

import math
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from plasticrl.core import Cell, PlasticConnection

EARLY_UPDATES = 100
"""The number of updates at the start in which a policy should still explore."""


class Network(Protocol):
    """The attributes of ``PlasticPolicy`` that these functions use."""

    core: Cell[Any]

    def named_parameters(self) -> Iterable[tuple[str, nn.Parameter]]: ...


def describe_activity(policy: Network, obs: PyTorchObs) -> str:
    """Say why the net's activity is not finite.

    Args:
        obs: the net's input, (B, ...) or a dict of such tensors.
    """
    for name, values in obs.items() if isinstance(obs, dict) else [("", obs)]:
        broken = np.flatnonzero(
            ~torch.isfinite(values).reshape(len(values), -1).all(dim=1).cpu().numpy()
        )
        if len(broken):
            if len(broken) == len(values) > 1:  # because of VecNormalize's shared statistics
                part = f" {name!r}" if name else ""
                return f"the observations{part} of all environments are not finite"
            part = f" (its part {name!r})" if name else ""
            return f"environment {broken[0]} gave an observation{part} that is not finite"
    if problem := describe_weights(policy):
        return problem
    return f"the net's activity is not finite: {_advice(policy)}"


def describe_weights(policy: Network) -> str | None:
    """Return one sentence about the first weights that are not finite; None if all are."""
    for name, parameter in policy.named_parameters():
        if not torch.isfinite(parameter).all():
            return f"the weights {name} are not finite: lower the learning rate"
    return None


def describe_rewards(rewards: np.ndarray) -> str | None:
    """Name the first of the rewards (..., B) that is not finite; None if all are finite."""
    if math.isfinite(rewards.sum()) or np.isfinite(rewards).all():  # the sum is faster
        return None
    *steps, row = np.argwhere(~np.isfinite(rewards))[0]
    return f"environment {row} gave the reward {rewards[(*steps, row)]}"


def describe_gradient(policy: Network, losses: dict[str, Tensor]) -> str:
    """Say why the gradient is not finite; ``losses`` are the parts of the loss, by name."""
    for name, loss in losses.items():
        if not torch.isfinite(loss).all():
            return f"the {name} loss is {loss.sum().item()}: {_advice(policy)}"
    for name, parameter in policy.named_parameters():
        if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
            return f"the gradient of {name} is not finite: {_advice(policy)}"
    return f"the gradient's norm is too large for its dtype: {_advice(policy)}"


def divergence_signs(model: Any, largest_reward: float) -> dict[str, str | None]:
    """Look for signs of divergence after an update of ``RecurrentA2C``.

    Args:
        model: the algorithm.
        largest_reward: the largest absolute reward so far.

    Returns:
        By the name of each sign, a sentence about it, or None if the sign is absent.
    """
    metrics = model.logger.name_to_value
    return {
        "value loss": _large_value_loss(
            metrics.get("train/value_loss", 0.0), largest_reward / max(1 - model.gamma, 1e-4)
        ),
        "saturation": _saturation(model._last_state),
        "certainty": _certainty(model, metrics.get("train/entropy_loss")),
    }


def _large_value_loss(value_loss: float, largest_return: float) -> str | None:
    # If predictions are within the range of returns, the loss is at most (2 largest_return)^2.
    if largest_return == 0 or value_loss <= 10 * largest_return**2:
        return None
    return (
        f"the value loss is {value_loss:.3g}, though no return can be larger than "
        f"{largest_return:.3g}: lower the learning rate"
    )


def _saturation(state: Any) -> str | None:
    """Return a sentence if most of the activity in a core's state is near 1 or -1, else None."""
    named = {} if state is None else state._asdict()
    hidden = [leaf.flatten() for name, leaf in named.items() if name.endswith("hidden")]
    share = (torch.cat(hidden).abs() > 0.999).float().mean().item() if hidden else 0.0
    if share < 0.9:
        return None
    return (
        f"{share:.0%} of the core's activity is at its limits, where its gradient vanishes: lower "
        "the learning rate"
    )


def _certainty(model: Any, entropy_loss: float | None) -> str | None:
    """Return a sentence if the policy has stopped exploring in its first updates, else None."""
    if (
        entropy_loss is None
        or model.n_rollouts > EARLY_UPDATES
        or isinstance(model.action_space, spaces.Box)
    ):
        return None
    n_parts = (  # each part of an action has a distribution of its own
        1 if isinstance(model.action_space, spaces.Discrete) else model.action_space.shape[0]
    )
    uncertainty = n_parts - entropy_loss if model.entropy == "simpson" else -entropy_loss
    if uncertainty > 1e-3 * n_parts:
        return None
    return (
        "the policy is certain of its actions already and no longer explores: lower the learning "
        f"rate, or raise ent_coef={model.current_ent_coef():g}"
    )


def _advice(policy: Network) -> str:
    could_be_limited = [
        isinstance(each, PlasticConnection) and each.trace_limit == math.inf
        for each in policy.core.connections
    ]
    if not any(could_be_limited):
        return "lower the learning rate"
    return "lower the learning rate, or limit the trace by bound='hard'"
