"""What a config describes, built: its environments, curriculum and model, untrained."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import VecEnv

from plasticrl.agents.curriculum import Curriculum
from plasticrl.agents.recurrent_a2c import RecurrentA2C
from plasticrl.agents.training.config import TrainConfig
from plasticrl.agents.vec_env import make_vec_env
from plasticrl.envs import ENV_IDS, HistoryObservation
from plasticrl.runs import UsageError, check_device


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn what a wrong setting or a broken run raises into ``UsageError``."""
    try:
        yield
    except (gym.error.Error, ImportError, ValueError, TypeError) as error:
        raise UsageError(" ".join(str(error).split())) from error


def build_env(config: TrainConfig, n_envs: int, device: str | None = None) -> VecEnv:
    """The run's environment, ``n_envs`` times; ``device`` as in ``make_vec_env``."""
    _check_env_kwargs(config)
    wrapper = None
    if config.history:
        wrapper = HistoryObservation
        if config.env_id in ENV_IDS:
            raise UsageError(f"--history: {config.env_id} shows its history already")
        spec = gym.registry.get(config.env_id)
        limit = config.env_kwargs.get("max_episode_steps", spec and spec.max_episode_steps)
        if limit is None:
            raise UsageError(
                f"--history: {config.env_id} has no time limit to measure time by; "
                "give one with --env-kwargs max_episode_steps=N"
            )
    env = make_vec_env(config.env_id, n_envs, config.seed, config.env_kwargs, wrapper, device)
    _check_spaces(config.env_id, env)
    return env


def build_training_env(config: TrainConfig) -> VecEnv:
    """The run's environments on its device, at the first stage of its curriculum if it has one."""
    if config.device != "auto":
        check_device(config.device, "cpu or auto")
    option, stages = config.curriculum.option, config.curriculum.stages
    if option is not None:
        config = replace(config, env_kwargs={**config.env_kwargs, option: stages[0]})
    device = get_device(config.device)
    native = config.env_id in ENV_IDS and not config.history
    on_device = native and device.type != "cpu"
    return build_env(config, config.n_envs, str(device) if on_device else None)


def _check_spaces(env_id: str, env: VecEnv) -> None:
    plain = (
        gym.spaces.Box,
        gym.spaces.Discrete,
        gym.spaces.MultiDiscrete,
        gym.spaces.MultiBinary,
    )
    if not isinstance(env.action_space, plain):
        raise UsageError(f"{env_id}: cannot act in a {type(env.action_space).__name__} space")
    space = env.observation_space
    parts = space.spaces.values() if isinstance(space, gym.spaces.Dict) else (space,)
    for part in parts:
        if not isinstance(part, plain):
            raise UsageError(f"{env_id}: cannot observe a {type(part).__name__} space")


def _check_env_kwargs(config: TrainConfig) -> None:
    spec = gym.registry.get(config.env_id)
    if spec is None:
        return  # Gymnasium says what is wrong with it, or imports it first
    native = config.env_id in ENV_IDS
    creator = spec.vector_entry_point if native else spec.entry_point
    make: Any = load_env_creator(creator) if isinstance(creator, str) else creator
    parameters = inspect.signature(make).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return  # it takes any name, and says itself what it does not know
    ours = ("num_envs", "autoreset_mode", "render_mode", "device")
    known = [parameter.name for parameter in parameters if parameter.name not in ours]
    if not native:
        known.append("max_episode_steps")  # Gymnasium's own
    for name in config.env_kwargs:
        if name not in known:
            raise UsageError(
                f"env_kwargs: {config.env_id} has no option {name!r}; it has {', '.join(known)}"
            )


def build_curriculum(config: TrainConfig) -> Curriculum | None:
    """The run's curriculum, at its first stage."""
    chosen = config.curriculum
    if chosen.option is None:
        return None
    return Curriculum(chosen.option, chosen.stages, chosen.threshold, chosen.episodes)


class RunA2C(RecurrentA2C):
    """The algorithm of a run: what it logs of time counts on when the run is resumed."""

    run_started_ns = 0
    """When it would have started, had it never stopped."""

    def dump_logs(self, iteration: int = 0) -> None:
        """As SB3's, for the whole run and not the last call of ``learn``."""
        self.start_time, self._num_timesteps_at_start = self.run_started_ns, 0
        super().dump_logs(self._n_updates + 1)


def build_model(config: TrainConfig, env: VecEnv) -> RunA2C:
    """The run's algorithm on ``env``, untrained."""
    a2c = config.a2c
    return RunA2C(
        _policy_for(env),
        env,
        learning_rate=_schedule(a2c.learning_rate, a2c.learning_rate_decay),
        n_steps=a2c.n_steps,
        bptt_length=a2c.bptt_length,
        gamma=a2c.gamma,
        gae_lambda=a2c.gae_lambda,
        ent_coef=a2c.ent_coef,
        entropy=a2c.entropy,
        vf_coef=a2c.vf_coef,
        max_grad_norm=a2c.max_grad_norm,
        normalize_advantage=a2c.normalize_advantage,
        bootstrap_truncated=a2c.bootstrap_truncated,
        policy_kwargs={
            "core": config.core.name,
            "core_kwargs": config.core.options(),
            "net_arch": [],  # as in the papers, the heads read the core itself
            "ortho_init": a2c.ortho_init,
            "optimizer_kwargs": {"eps": a2c.adam_eps},
        },
        seed=config.seed,
        device=config.device,
    )


def _schedule(start: float, decay: float) -> float | Callable[[float], float]:
    """SB3's schedule, by the remaining progress from 1 to 0."""
    if not decay:
        return start
    # Below zero in the last update of a total that is no whole number of rollouts.
    return lambda remaining: start * min(1.0, max(0.0, remaining) / decay)


def _policy_for(env: VecEnv) -> str:
    space = env.observation_space
    if isinstance(space, gym.spaces.Dict):
        return "MultiInputPlasticPolicy"
    image = is_image_space(space) and min(_sides(space)) >= SMALLEST_IMAGE
    return "CnnPlasticPolicy" if image else "PlasticPolicy"


SMALLEST_IMAGE = 36
"""Pixels a side that SB3's ``NatureCNN`` needs; a smaller one is read as a vector."""


def _sides(image: gym.spaces.Space[Any]) -> tuple[int, ...]:
    """Pixels of an image (H, W, channels) or (channels, H, W), channels left out."""
    assert image.shape is not None
    return tuple(sorted(image.shape)[1:])
