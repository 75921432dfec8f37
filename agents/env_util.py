"""Makes environments as one SB3 ``VecEnv``, as SB3's ``env_util`` does."""

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_util import make_vec_env as make_sb3_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from plasticrl.agents.options import check_count
from plasticrl.agents.vec_env import BatchVecEnv
from plasticrl.envs import ENV_IDS, BatchEnv, resolve_id
from plasticrl.envs.registration import MODULE
from plasticrl.runs import UsageError


def make_vec_env(
    env_id: str | Callable[..., gym.Env[Any, Any]],
    n_envs: int = 1,
    seed: int | None = None,
    start_index: int = 0,
    monitor_dir: str | None = None,
    wrapper_class: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]] | None = None,
    env_kwargs: dict[str, Any] | None = None,
    vec_env_cls: type[DummyVecEnv | SubprocVecEnv] | None = None,
    vec_env_kwargs: dict[str, Any] | None = None,
    monitor_kwargs: dict[str, Any] | None = None,
    wrapper_kwargs: dict[str, Any] | None = None,
    device: str | None = None,
) -> VecEnv:
    """Make ``n_envs`` environments as one SB3 ``VecEnv``.

    The arguments, except ``device``, are those of SB3's ``make_vec_env``. An id of this package
    becomes a ``BatchVecEnv``, in which one ``BatchEnv`` steps all environments at once (called a
    native batch), unless an argument asks for separate environments: ``wrapper_class``,
    ``vec_env_cls``, ``vec_env_kwargs``, or ``reset_keywords`` in ``monitor_kwargs``. These, a
    callable and any other id become SB3's own ``VecEnv``.

    Args:
        env_id: an id, also with its module as "module:id", or a callable that makes an environment.
            An id without a version stands for the newest one.
        seed: environment k is seeded with seed + k at the next reset, and the action space with
            seed + start_index now.
        start_index: number of the first environment, in the names of the monitor files.
        monitor_dir: folder for one file of episodes per environment, which SB3's
            ``load_results`` reads; None writes no files.
        wrapper_class: a wrapper for each environment, made with ``wrapper_kwargs``.
        env_kwargs: options of the environment. The render mode is "rgb_array" if none is given.
        vec_env_cls: the ``VecEnv`` for separate environments, made with ``vec_env_kwargs``.
        monitor_kwargs: options of SB3's ``Monitor``.
        device: None for NumPy arrays, or the torch device on which a native batch keeps its
            tensors. If the policy is on that device too and ``bootstrap_truncated`` is off,
            ``RecurrentA2C`` takes all steps of a rollout there, without waiting for the CPU.

    Raises:
        TypeError: for an option that the environment does not have.
        ValueError: for an invalid value, a device for environments that are not a native batch, or
            ``wrapper_kwargs`` without a wrapper.
        gymnasium.error.Error: for an id that is not registered.
    """
    check_count(n_envs=n_envs)
    if wrapper_kwargs and wrapper_class is None:
        raise UsageError("wrapper_kwargs are the options of a wrapper: give a wrapper_class too")
    monitor_kwargs = monitor_kwargs or {}
    separating = {
        "wrapper_class": wrapper_class,
        "vec_env_cls": vec_env_cls,
        "vec_env_kwargs": vec_env_kwargs,
        "reset_keywords": monitor_kwargs.get("reset_keywords"),
    }
    given = [name for name, value in separating.items() if value]
    own_id = resolve_id(env_id) if isinstance(env_id, str) else ""
    is_own = own_id in ENV_IDS
    if given or not is_own:
        if device is not None:
            why = f"{', '.join(given)} asks for separate ones" if is_own else f"{env_id} has none"
            raise UsageError(f"device={device!r} needs a native batch, and {why}")
        with warnings.catch_warnings():  # SB3 asks for pictures, which not every environment has
            warnings.filterwarnings("ignore", ".*initialised with render_mode")
            return make_sb3_vec_env(
                f"{MODULE}:{own_id}" if is_own else env_id,  # for processes that did not import it
                n_envs,
                seed,
                start_index,
                monitor_dir,
                wrapper_class,
                env_kwargs,
                vec_env_cls,
                vec_env_kwargs,
                monitor_kwargs,
                wrapper_kwargs,
            )
    batch = gym.make_vec(
        own_id,
        num_envs=n_envs,
        autoreset_mode=AutoresetMode.SAME_STEP,
        device=device,
        **{"render_mode": "rgb_array", **(env_kwargs or {})},
    )
    assert isinstance(batch, BatchEnv)
    vec_env = BatchVecEnv(batch, monitor_dir, start_index, **monitor_kwargs)
    vec_env.seed(seed)
    if seed is not None:
        vec_env.action_space.seed(seed + start_index)
    return vec_env
