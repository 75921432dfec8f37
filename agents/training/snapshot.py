"""Saves and restores the complete state of a training run between two updates."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plasticrl.agents.curriculum import Curriculum
from plasticrl.agents.policies import PlasticPolicy
from plasticrl.agents.recurrent_a2c import RecurrentA2C
from plasticrl.agents.vec_env import BatchVecEnv
from plasticrl.core.state import leaves, unflatten
from plasticrl.runs import RunError, get_rng_state, set_rng_state

_TYPES: dict[str, type | tuple[type, ...]] = {
    "policy": dict,
    "optimizer": dict,
    "num_timesteps": int,
    "n_updates": int,
    "elapsed": float,
    "episodes": list,
    "recorded": dict,
    "rng": dict,
    "environments": (dict, type(None)),
    "curriculum": (dict, type(None)),
}
"""Keys of a checkpoint, and the types of their values."""


@contextmanager
def naming(checkpoint: Path) -> Iterator[None]:
    """Put the checkpoint's path before the message of a ``RunError``."""
    try:
        yield
    except RunError as error:
        raise RunError(f"{checkpoint}: {error}") from error


def take(model: RecurrentA2C, elapsed: float, curriculum: Curriculum | None) -> dict[str, Any]:
    """Return everything that a checkpoint saves of a run, between two updates.

    The state of the environments is included only if they are a native batch.

    Args:
        elapsed: seconds trained so far.
        curriculum: the run's curriculum, if it has one.
    """
    native = isinstance(model.env, BatchVecEnv)
    return {
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "num_timesteps": model.num_timesteps,
        "n_updates": model._n_updates,
        "elapsed": elapsed,
        "episodes": [
            {"r": float(info["r"]), "l": int(info["l"])} for info in model.ep_info_buffer or ()
        ],
        # The metrics of the last update are written together with those of the next rollout.
        "recorded": {name: float(value) for name, value in model.logger.name_to_value.items()},
        "rng": get_rng_state(),
        "environments": _environments(model) if native else None,
        "curriculum": None if curriculum is None else curriculum.state(),
    }


def _environments(model: RecurrentA2C) -> dict[str, Any]:
    assert isinstance(model.env, BatchVecEnv)
    assert isinstance(model._last_obs, np.ndarray)
    return {
        "batch": {name: torch.from_numpy(leaf) for name, leaf in model.env.get_state().items()},
        "last_obs": torch.from_numpy(model._last_obs),
        "last_episode_starts": torch.from_numpy(np.asarray(model._last_episode_starts)),
        "state": [] if model._last_state is None else leaves(model._last_state),
    }


def restore(
    model: RecurrentA2C, content: dict[str, Any], curriculum: Curriculum | None = None
) -> None:
    """Restore an untrained model and the run's curriculum from the content of a checkpoint.

    Environments whose state was not saved begin new episodes.

    Raises:
        RunError: the checkpoint does not fit the model.
    """
    for name, expected in _TYPES.items():
        if name not in content or not isinstance(content[name], expected):
            raise RunError(f"the checkpoint's {name!r} is missing, or of the wrong type")
    restore_policy(model.policy, content)
    try:
        model.policy.optimizer.load_state_dict(content["optimizer"])
        model.num_timesteps = content["num_timesteps"]
        model._n_updates = content["n_updates"]
        model.ep_info_buffer = deque(content["episodes"], maxlen=model._stats_window_size)
        model.ep_success_buffer = deque(maxlen=model._stats_window_size)
        _restore_environments(model, content["environments"])
        if curriculum is not None:
            curriculum.restore(content["curriculum"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise RunError(f"the checkpoint does not fit the run's config: {error!r}") from error
    set_rng_state(content["rng"])


def restore_policy(policy: PlasticPolicy, content: dict[str, Any]) -> None:
    """Restore only the weights.

    Raises:
        RunError: the weights do not fit the policy, or are not finite.
    """
    try:
        weights = content["policy"]
        policy.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"the checkpoint's weights do not fit the run's config: {reason}") from error
    for name, parameter in policy.named_parameters():
        if not torch.isfinite(parameter).all():
            raise RunError(f"the checkpoint's {name} is not finite")


def _restore_environments(model: RecurrentA2C, saved: dict[str, Any] | None) -> None:
    if saved is None:
        assert model.env is not None
        assert model.seed is not None
        model.env.seed(model.seed + model.num_timesteps)  # other episodes than those at the start
        return
    if not isinstance(model.env, BatchVecEnv):
        raise ValueError("it has a native batch of environments, and the run does not")
    model.env.set_state({name: leaf.numpy() for name, leaf in saved["batch"].items()})
    model._last_obs = saved["last_obs"].numpy()
    model._last_episode_starts = saved["last_episode_starts"].numpy()
    if saved["state"]:
        template = model.policy.initial_state(model.n_envs)
        tensors = [leaf.to(model.device) for leaf in saved["state"]]
        model._last_state = unflatten(template, tensors)
