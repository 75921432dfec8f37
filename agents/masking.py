"""Masks of impossible actions, by sb3-contrib's convention.

An environment whose possible actions change has a method ``action_masks``, which returns a boolean
vector (A,): true where an action is possible now. A is the number of values of a ``Discrete``
space, the sum of the numbers of a ``MultiDiscrete`` space, and twice the number of bits of a
``MultiBinary`` space, where each bit has a mask for 0 and a mask for 1.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    Distribution,
    MultiCategoricalDistribution,
)
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from plasticrl.runs import UsageError

METHOD = "action_masks"
IMPOSSIBLE = -1e8
"""The logit of an impossible action. It gives a probability of zero, and a finite entropy."""


def has_masks(env: VecEnv) -> bool:
    """Whether the environments have the method ``action_masks``."""
    return env.has_attr(METHOD)


def get_masks(env: VecEnv) -> np.ndarray:
    """Ask the environments which actions are possible now.

    Returns:
        (B, A) bool.

    Raises:
        UsageError: as ``check_masks``.
    """
    return check_masks(env.env_method(METHOD), env.num_envs, env.action_space)


def get_single_masks(env: gym.Env[Any, Any]) -> np.ndarray | None:
    """Ask a single environment which actions are possible now.

    Returns:
        (1, A) bool; None if the environment has no method ``action_masks``.

    Raises:
        UsageError: as ``check_masks``.
    """
    if not env.has_wrapper_attr(METHOD):
        return None
    return check_masks(env.get_wrapper_attr(METHOD)(), 1, env.action_space)


def check_masks(masks: Any, n_rows: int, action_space: spaces.Space[Any]) -> np.ndarray:
    """Return masks as a boolean array (n_rows, A).

    Args:
        masks: (n_rows, A), or (A,) for a single row.

    Raises:
        UsageError: the masks have another shape or other values than true, false, 1 and 0; the
            actions are continuous; or a row has no possible action.
    """
    sizes = _sizes(action_space)
    checked = _as_bools(masks)
    if checked.ndim == 1:
        checked = checked[None]
    if checked.shape != (n_rows, sum(sizes)):
        raise UsageError(
            f"action masks must have shape {(n_rows, sum(sizes))} for {n_rows} environments with "
            f"the action space {action_space}, not {np.shape(masks)}"
        )
    possible = np.logical_or.reduceat(checked, _starts(sizes), axis=1).all(axis=1)
    if not possible.all():
        row = int(np.flatnonzero(~possible)[0])
        raise UsageError(f"the action masks of environment {row} leave no possible action")
    return checked


def _as_bools(masks: Any) -> np.ndarray:
    try:
        array = np.asarray(masks)
    except ValueError as error:
        raise UsageError("the action masks of the environments differ in length") from error
    are_numbers = array.dtype.kind in "biuf"
    wrong = array[(array != 0) & (array != 1)] if are_numbers else array
    if wrong.size:
        raise UsageError(
            "action masks must be true where an action is possible and false elsewhere, not "
            f"{wrong.flat[0]!r}"
        )
    return array.astype(bool)


def _sizes(action_space: spaces.Space[Any]) -> list[int]:
    """Return the number of masks of each part of an action."""
    if isinstance(action_space, spaces.Discrete):
        return [int(action_space.n)]
    if isinstance(action_space, spaces.MultiDiscrete):
        return [int(n) for n in action_space.nvec]
    if isinstance(action_space, spaces.MultiBinary):
        return [2] * int(action_space.shape[0])
    raise UsageError(f"action masks need discrete actions, not the action space {action_space}")


def _starts(sizes: list[int]) -> np.ndarray:
    """Return the index of the first mask of each part of an action."""
    return np.cumsum([0, *sizes[:-1]])


def sample_possible(
    masks: np.ndarray, action_space: spaces.Space[Any], generator: np.random.Generator
) -> np.ndarray:
    """Draw actions (B, ...), each with equal probability from all that its masks (B, A) allow."""
    # Each of several independent uniform numbers is equally likely to be the largest.
    drawn = np.where(masks, generator.random(masks.shape), -1.0)
    parts = np.split(drawn, _starts(_sizes(action_space))[1:], axis=1)
    actions = np.stack([part.argmax(axis=1) for part in parts], axis=1)
    return actions.reshape(-1, *(action_space.shape or ()))


def masked(distribution: Distribution, masks: Tensor) -> Distribution:
    """Return the distribution with the probability of impossible actions set to zero.

    Args:
        distribution: a batch of M distributions of actions.
        masks: (M, A) bool.
    """
    if isinstance(distribution, CategoricalDistribution):
        logits = distribution.distribution.logits
        return distribution.proba_distribution(logits.masked_fill(~masks, IMPOSSIBLE))
    if isinstance(distribution, MultiCategoricalDistribution):
        logits = torch.cat([part.logits for part in distribution.distribution], dim=1)
        return distribution.proba_distribution(logits.masked_fill(~masks, IMPOSSIBLE))
    assert isinstance(distribution, BernoulliDistribution)
    zero, one = masks[:, 0::2], masks[:, 1::2]
    logits = distribution.distribution.logits.masked_fill(~one, IMPOSSIBLE)
    return distribution.proba_distribution(logits.masked_fill(~zero, -IMPOSSIBLE))
