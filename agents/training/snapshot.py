"""Saves and restores the complete state of a training run between two updates."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plasticrl.agents.curriculum import Curriculum
from plasticrl.agents.distributed import Ranks
from plasticrl.agents.normalization import normalization_state, restore_normalization
from plasticrl.agents.on_policy import RecurrentOnPolicyAlgorithm
from plasticrl.agents.policies import PlasticPolicy
from plasticrl.agents.vec_env import BatchVecEnv
from plasticrl.core.state import leaves, unflatten
from plasticrl.envs import ArgumentError
from plasticrl.runs import RunError, get_rng_state, set_rng_state
from plasticrl.runs.matching import check_at_least, check_like, check_optimizer


@contextmanager
def checkpoint_in_errors(path: Path) -> Iterator[None]:
    """A context that adds the checkpoint's path to the message of a ``RunError``."""
    try:
        yield
    except RunError as error:
        raise RunError(f"{path} does not fit the run's config: {error}") from error


def checkpoint_content(
    model: RecurrentOnPolicyAlgorithm, elapsed: float, curriculum: Curriculum | None
) -> dict[str, Any]:
    """Return the content of a checkpoint: all that a run needs to continue as if uninterrupted.

    Call it between two updates. The state of the environments is included only if they are a
    ``BatchVecEnv``, which may be wrapped. If several ranks train the model, call it on all of
    them. The content then has the environments of all, like that of one process, but the last
    episodes' rewards and the metrics are those of this rank.

    Args:
        elapsed: seconds trained so far.
        curriculum: the run's curriculum, if it has one.
    """
    batch = _batch_env(model)
    return {
        "policy": dict(model.policy.state_dict()),
        "optimizer": model.policy.optimizer.state_dict(),
        "num_timesteps": model.num_timesteps,
        "n_updates": model._n_updates,
        "elapsed": elapsed,
        "episodes": [
            {"r": float(info["r"]), "l": int(info["l"])} for info in model.ep_info_buffer or ()
        ],
        # Metrics of the last update, which SB3 writes only with those of the next rollout.
        "recorded": {name: float(value) for name, value in model.logger.name_to_value.items()},
        "rng": get_rng_state(),
        "environments": None if batch is None else _environment_state(model, batch),
        "normalization": normalization_state(model.get_vec_normalize_env()),
        "curriculum": None if curriculum is None else curriculum.state(),
    }


def _batch_env(model: RecurrentOnPolicyAlgorithm) -> BatchVecEnv | None:
    """The model's environments without their wrappers; None if their state cannot be saved."""
    assert model.env is not None
    env = model.env.unwrapped
    return env if isinstance(env, BatchVecEnv) else None


def _environment_state(model: RecurrentOnPolicyAlgorithm, batch: BatchVecEnv) -> dict[str, Any]:
    """The environments' state, and the observations and recurrent state of the next step."""
    assert isinstance(model._last_obs, np.ndarray)
    own = {
        "batch": {name: torch.from_numpy(leaf) for name, leaf in batch.get_state().items()},
        "last_obs": torch.from_numpy(model._last_obs),
        "last_episode_starts": torch.from_numpy(np.asarray(model._last_episode_starts)),
        "state": [] if model._last_state is None else leaves(model._last_state),
    }
    if model.ranks.world_size == 1:
        return own
    return _over_rows(lambda *parts: torch.cat(parts), *model.ranks.gather_objects(own))


def _over_rows(function: Callable[..., Tensor], *states: dict[str, Any]) -> dict[str, Any]:
    """Apply a function to each array of the environments' states, whose first axis are the rows."""
    first = states[0]
    return {
        "batch": {
            name: function(*(state["batch"][name] for state in states)) for name in first["batch"]
        },
        **{
            name: function(*(state[name] for state in states))
            for name in ("last_obs", "last_episode_starts")
        },
        "state": [function(*parts) for parts in zip(*(s["state"] for s in states), strict=True)],
    }


def of_rank(content: dict[str, Any], ranks: Ranks, n_envs: int) -> dict[str, Any]:
    """Return a checkpoint's content with only the rows of this rank, of ``n_envs`` in all.

    Raises:
        RunError: the environments' state is damaged.
    """
    try:
        own = _over_rows(lambda leaf: leaf[ranks.rows(n_envs)], content["environments"])
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise RunError(f"environments: {error!r}") from error
    return content | {"environments": own}


def restore(
    model: RecurrentOnPolicyAlgorithm, content: dict[str, Any], curriculum: Curriculum | None = None
) -> None:
    """Restore an untrained model and the run's curriculum from the content of a checkpoint.

    Environments whose state was not saved begin new episodes.

    Raises:
        RunError: the content is not what ``checkpoint_content`` returns for such a run.
    """
    _check_content(model, content, curriculum)
    restore_policy(model.policy, content)
    model.policy.optimizer.load_state_dict(content["optimizer"])
    model.num_timesteps = content["num_timesteps"]
    model._n_updates = content["n_updates"]
    model.ep_info_buffer = deque(content["episodes"], maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(maxlen=model._stats_window_size)
    _restore_environments(model, content["environments"])
    restore_normalization(model.get_vec_normalize_env(), content["normalization"], model.n_envs)
    if curriculum is not None:
        curriculum.restore(content["curriculum"])
    set_rng_state(content["rng"])


def _check_content(
    model: RecurrentOnPolicyAlgorithm, content: dict[str, Any], curriculum: Curriculum | None
) -> None:
    """Raise ``RunError`` unless the content has the keys, types and shapes that this run saves.

    This changes the weights and resets the environments.
    """
    templates = {
        "num_timesteps": 0,
        "n_updates": 0,
        "elapsed": 0.0,
        "episodes": [{"r": 0.0, "l": 0}] * _list_length(content, "episodes"),
    }
    parts = ("policy", "optimizer", "recorded", "rng")
    optional = ("environments", "normalization", "curriculum")
    if content.keys() != {*templates, *parts, *optional}:
        raise RunError("it is not a checkpoint of an agent's run")
    for name, template in templates.items():
        check_like(content[name], template, name)
    check_at_least(0, **{name: content[name] for name in ("num_timesteps", "n_updates", "elapsed")})
    recorded = content["recorded"]  # it may contain NaN, the explained variance of constant returns
    if (
        type(recorded) is not dict
        or {type(value) for value in recorded.values()} - {float}
        or {type(name) for name in recorded} - {str}
        or "step" in recorded
    ):
        raise RunError("recorded must be a dict of numbers with the names of metrics as keys")
    _check_policy(model.policy, content)
    check_optimizer(content["optimizer"], model.policy.optimizer, "optimizer")
    if (batch := _batch_env(model)) is not None:
        batch.reset()  # before the first reset, there is no state to compare with
        like = _environment_template(model, batch, content)
        check_like(content["environments"], like, "environments")
    elif content["environments"] is not None:
        raise RunError("environments must be None: this run's environments cannot be saved")
    if curriculum is None:
        check_like(content["curriculum"], None, "curriculum")
    else:
        window = [[0.0, 0]] * _list_length(content["curriculum"], "window")
        check_like(content["curriculum"], {"stage": 0, "window": window}, "curriculum")


def _list_length(content: Any, name: str) -> int:
    """The length of the list ``content[name]``; 0 if it is not a list."""
    part = content.get(name) if isinstance(content, dict) else None
    return len(part) if isinstance(part, list) else 0


def _environment_template(
    model: RecurrentOnPolicyAlgorithm, batch: BatchVecEnv, content: dict[str, Any]
) -> dict[str, Any]:
    """The template with which ``check_like`` compares the environments in the content."""
    space = model.observation_space
    assert space.shape is not None
    saved = content["environments"]
    before_the_first_step = isinstance(saved, dict) and saved.get("state") == []
    state = [] if before_the_first_step else leaves(model.policy.initial_state(model.n_envs))
    last_obs = np.zeros((model.n_envs, *space.shape), space.dtype)
    return {
        "batch": {name: torch.from_numpy(leaf) for name, leaf in batch.get_state().items()},
        "last_obs": torch.from_numpy(last_obs),
        "last_episode_starts": torch.zeros(model.n_envs, dtype=torch.bool),
        "state": [leaf.cpu() for leaf in state],
    }


def restore_policy(policy: PlasticPolicy, content: dict[str, Any]) -> None:
    """Restore the weights, and nothing else.

    Raises:
        RunError: the weights do not fit the policy, or are not finite.
    """
    _check_policy(policy, content)
    policy.load_state_dict(content["policy"])


def _check_policy(policy: PlasticPolicy, content: dict[str, Any]) -> None:
    check_like(content.get("policy"), dict(policy.state_dict()), "policy")


def _restore_environments(model: RecurrentOnPolicyAlgorithm, saved: dict[str, Any] | None) -> None:
    if saved is None:
        assert model.env is not None
        assert model.seed is not None
        model.env.seed(model.seed + model.num_timesteps)  # so that the first episodes do not repeat
        return
    batch = _batch_env(model)
    assert batch is not None
    try:
        batch.set_state({name: leaf.numpy() for name, leaf in saved["batch"].items()})
    except ArgumentError as error:
        raise RunError(str(error)) from error
    model._last_obs = saved["last_obs"].numpy()
    model._last_episode_starts = saved["last_episode_starts"].numpy()
    if saved["state"]:
        template = model.policy.initial_state(model.n_envs)
        tensors = [leaf.to(model.device) for leaf in saved["state"]]
        model._last_state = unflatten(template, tensors)
