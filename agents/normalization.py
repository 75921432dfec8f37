"""SB3's ``VecNormalize`` around the environments of a run, and its statistics as plain data.

    observation    clip((observation - mean) / sqrt(var + epsilon), -10, 10)
    reward         clip(reward / sqrt(var_of_returns + epsilon), -10, 10)

The statistics are those of all observations, and of the discounted sums of rewards, so far in the
training. ``VecNormalize.normalize_obs`` normalizes one observation or a batch and does not update
them.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from plasticrl.runs import RunError
from plasticrl.runs.matching import check_at_least, check_like


def normalized(env: VecEnv, gamma: float) -> VecNormalize:
    """Normalize the rewards of environments, and their ``Box`` observations except images.

    Images, which the policy divides by 255, and discrete observations stay as they are.

    Args:
        env: the environments.
        gamma: the discount factor of the returns.
    """
    space = env.observation_space
    if not isinstance(space, spaces.Dict):
        wrapped = VecNormalize(env, gamma=gamma, norm_obs=_is_normalized(space))
        wrapped.observation_space = _normalized_space(space)
        return wrapped
    keys = [key for key, part in space.items() if _is_normalized(part)]
    wrapped = VecNormalize(env, gamma=gamma, norm_obs_keys=keys)
    wrapped.observation_space = spaces.Dict(
        [(key, _normalized_space(part)) for key, part in space.items()]
    )
    return wrapped


def _is_normalized(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and not is_image_space(space)


def _normalized_space(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The float32 space of normalized observations; SB3's buffer would round them to integers."""
    if not isinstance(space, spaces.Box) or not _is_normalized(space):
        return space
    with np.errstate(over="ignore"):  # a bound of float64 may become infinite
        return spaces.Box(space.low.astype(np.float32), space.high.astype(np.float32))


def observation_statistics(env: VecNormalize) -> dict[str, RunningMeanStd]:
    """The statistics by the keys of a Dict, "" for another space; {} if none are normalized."""
    if not env.norm_obs:
        return {}
    statistics: Any = env.obs_rms
    return statistics if isinstance(statistics, dict) else {"": statistics}


def normalization_state(env: VecNormalize | None) -> dict[str, Any] | None:
    """Return what a checkpoint saves; None without a ``VecNormalize``."""
    if env is None:
        return None
    observed = observation_statistics(env)
    return {
        "observations": {key: _moments(statistics) for key, statistics in observed.items()},
        "rewards": _moments(env.ret_rms),
        "returns": torch.from_numpy(env.returns.copy()),
    }


def restore_normalization(env: VecNormalize | None, saved: Any, n_envs: int) -> None:
    """Restore what ``normalization_state`` returned.

    Args:
        env: may have another number of environments, if it only normalizes observations.
        saved: the state.
        n_envs: the number of environments whose state was saved.

    Raises:
        RunError: ``saved`` does not fit ``env``.
    """
    template = normalization_state(env)
    if template is not None:
        template["returns"] = torch.zeros(1, dtype=torch.float64).expand(n_envs)
    check_like(saved, template, "normalization")
    if env is None:
        return
    pairs = {"rewards": (env.ret_rms, saved["rewards"])} | {
        f"observations.{key}": (statistics, saved["observations"][key])
        for key, statistics in observation_statistics(env).items()
    }
    for name, (statistics, moments) in pairs.items():
        check_at_least(0, **{f"normalization.{name}.count": moments["count"]})
        if (moments["var"] < 0).any():
            raise RunError(f"normalization.{name}.var has a negative number")
        statistics.mean, statistics.var = moments["mean"].numpy(), moments["var"].numpy()
        statistics.count = moments["count"]
    env.returns = saved["returns"].numpy()


def _moments(statistics: RunningMeanStd) -> dict[str, Any]:
    return {
        "mean": torch.tensor(statistics.mean),
        "var": torch.tensor(statistics.var),
        "count": float(statistics.count),
    }


def describe_statistics(env: VecNormalize | None) -> str | None:
    """Return one sentence about the first statistics that are not finite; None if all are."""
    for name, statistics in () if env is None else _all(env):
        if not (np.isfinite(statistics.mean).all() and np.isfinite(statistics.var).all()):
            return (
                f"the running mean or variance of the {name} is not finite: scale them in the "
                "environment, or train with normalize=False"
            )
    return None


def _all(env: VecNormalize) -> Iterator[tuple[str, RunningMeanStd]]:
    for key, statistics in observation_statistics(env).items():
        yield f"observations {key!r}" if key else "observations", statistics
    yield "rewards", env.ret_rms
