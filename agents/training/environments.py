"""Builds the environments of a run from its config."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv

from plasticrl.agents.env_util import make_vec_env
from plasticrl.agents.failures import closing_env, summary
from plasticrl.agents.training.checked_env import CheckedEnv
from plasticrl.agents.training.config import TrainConfig
from plasticrl.envs import ENV_IDS, ArgumentError, HistoryObservation, Trials, resolve_id
from plasticrl.runs import UsageError, UserCodeError, check_device


def build_env(config: TrainConfig, n_envs: int, device: str | None = None) -> VecEnv:
    """Build ``n_envs`` environments of a run.

    Args:
        device: as for ``make_vec_env``.

    Raises:
        UsageError: the environment does not exist, does not accept the options, or has spaces that
            are not supported.
    """
    _check_env_kwargs(config)
    if config.history:
        _check_history(config)
    with _errors_of_making(config):
        if is_native(config):
            return make_vec_env(
                config.env_id, n_envs, config.seed, env_kwargs=config.env_kwargs, device=device
            )
        return make_vec_env(
            config.env_id,
            n_envs,
            config.seed,
            wrapper_class=partial(_wrapped, config),
            env_kwargs=config.env_kwargs,
            vec_env_cls=SubprocVecEnv if config.processes else None,
        )


def is_native(config: TrainConfig) -> bool:
    """Whether all environments of a run are one ``BatchEnv`` of this package."""
    return is_own(config) and config.trials == 1 and not (config.wrapper or config.processes)


def is_own(config: TrainConfig) -> bool:
    """Whether the environment of a run is one of this package."""
    return resolve_id(config.env_id) in ENV_IDS


def build_single_env(config: TrainConfig, render_mode: str | None) -> gym.Env[Any, Any]:
    """Build a single environment of a run, with a render mode.

    Raises:
        UsageError: the environment cannot be made, or does not have this render mode.
    """
    options: dict[str, Any] = dict(config.env_kwargs)
    if render_mode is not None:
        options["render_mode"] = render_mode
    with _errors_of_making(config):
        return _wrapped(config, gym.make(resolve_id(config.env_id), **options))


def _wrapped(config: TrainConfig, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Add the run's wrappers to an environment."""
    for name in config.wrapper:
        module, _, wrapper = name.partition(":")
        make = getattr(import_module(module), wrapper, None)
        if make is None:
            raise UsageError(f"wrapper: the module {module} has no {wrapper}")
        try:
            env = make(env)
        except Exception as error:
            raise UserCodeError(f"wrapper: {name} cannot be made: {summary(error)}") from error
        if not isinstance(env, gym.Env):
            raise UsageError(f"wrapper: {name} must return an environment, not {env!r}")
    if not is_own(config):
        env = CheckedEnv(env)
    if config.trials > 1:
        _check_not_dict(env, "trials")
        env = Trials(env, config.trials)
    if config.history:
        _check_not_dict(env, "history")
        env = HistoryObservation(env)
    return env


def _check_not_dict(env: gym.Env[Any, Any], setting: str) -> None:
    if isinstance(env.observation_space, gym.spaces.Dict):  # it would become a nested Dict
        raise UsageError(
            f"{setting} cannot be added to a Dict of observations: flatten it before, with "
            "wrapper=gymnasium.wrappers:FlattenObservation"
        )


@contextmanager
def _errors_of_making(config: TrainConfig) -> Iterator[None]:
    """Turn errors about an environment's id or options into ``UsageError``.

    The environments of this package raise ``ArgumentError`` for a wrong option; any other error is
    a bug and keeps its traceback. Other environments raise various errors for a wrong option.
    """
    others_raise = (ImportError, TypeError, ValueError, AssertionError)
    errors = () if is_own(config) else others_raise
    try:
        yield
    except UserCodeError:
        raise
    except (gym.error.Error, ArgumentError, *errors) as error:
        own = resolve_id(f"plasticrl/{config.env_id}")
        hint = f" Did you mean {own}?" if own in ENV_IDS else ""
        raise UsageError(f"{config.env_id}: {' '.join(str(error).split())}{hint}") from error
    except (Exception, SystemExit) as error:
        if is_own(config):
            raise
        raise UserCodeError(f"{config.env_id} cannot be made: {summary(error)}") from error


def build_training_env(config: TrainConfig) -> VecEnv:
    """Build a run's environments for training, at the curriculum's first stage.

    A native batch is on the run's device, unless its observations are normalized.

    Raises:
        UsageError: as ``build_env``, also for a later stage of the curriculum.
    """
    check_device(config.device, "cpu or auto")
    option, stages = config.curriculum.option, config.curriculum.stages
    if option is not None:
        *later, config = (
            replace(config, env_kwargs={**config.env_kwargs, option: stage})
            for stage in reversed(stages)
        )
        for stage_config in later:
            with closing_env(build_env(stage_config, 1)):
                pass
    device = get_device(config.device)
    # VecNormalize needs NumPy arrays.
    on_device = is_native(config) and device.type != "cpu" and not config.normalize
    return build_env(config, config.n_envs, str(device) if on_device else None)


def _spec(config: TrainConfig) -> EnvSpec:
    """The registered specification of the run's environment, whose module is imported first."""
    module, _, env_id = config.env_id.rpartition(":")
    with _errors_of_making(config):
        if module:
            import_module(module)
        return gym.spec(resolve_id(env_id))


def _check_history(config: TrainConfig) -> None:
    if is_own(config):
        raise UsageError(f"history: {config.env_id} already has its history in the observation")
    spec = _spec(config)
    limit = config.env_kwargs.get("max_episode_steps", spec.max_episode_steps)
    if limit is None:
        raise UsageError(
            f"history: {config.env_id} has no time limit by which the observed time is divided; "
            "set one in env_kwargs, as in max_episode_steps=500"
        )


def _check_env_kwargs(config: TrainConfig) -> None:
    spec = _spec(config)
    native = is_own(config)
    creator = spec.vector_entry_point if native else spec.entry_point
    with _errors_of_making(config):
        make: Any = load_env_creator(creator) if isinstance(creator, str) else creator
    parameters = inspect.signature(make).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return  # it has **kwargs, whose names it must check itself
    ours = ("num_envs", "autoreset_mode", "render_mode", "device")
    known = [parameter.name for parameter in parameters if parameter.name not in ours]
    if not native:
        known.append("max_episode_steps")  # Gymnasium's own
    for name in config.env_kwargs:
        if name not in known:
            raise UsageError(
                f"env_kwargs: {config.env_id} has no option {name!r}; it has {', '.join(known)}"
            )
