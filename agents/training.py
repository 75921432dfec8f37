"""Training runs: config -> environments -> RecurrentA2C -> run directory; and going on with one."""

import inspect
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from shutil import which
from typing import Any

import gymnasium as gym
import torch
from gymnasium.envs.registration import load_env_creator
from rich.console import Console
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv

from plasticrl.agents.callbacks import ProgressCallback, RunCheckpoints
from plasticrl.agents.config import TrainConfig, UsageError
from plasticrl.agents.curriculum import Curriculum
from plasticrl.agents.logger import make_logger
from plasticrl.agents.policies import PlasticPolicy
from plasticrl.agents.recurrent_a2c import RecurrentA2C
from plasticrl.agents.snapshot import restore, restore_policy, take
from plasticrl.agents.vec_env import make_vec_env
from plasticrl.envs import ENV_IDS, HistoryObservation
from plasticrl.runs import (
    CONFIG_NAME,
    RunDirectory,
    RunError,
    from_dict,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
    to_dict,
)


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn what a wrong setting or a broken run raises into ``UsageError``."""
    try:
        yield
    except (RunError, gym.error.Error, ImportError, ValueError, TypeError) as error:
        raise UsageError(" ".join(str(error).split())) from error


def build_env(config: TrainConfig, n_envs: int) -> VecEnv:
    """The run's environment, ``n_envs`` times."""
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
    env = make_vec_env(config.env_id, n_envs, config.seed, config.env_kwargs, wrapper)
    _check_spaces(config.env_id, env)
    return env


def build_training_env(config: TrainConfig) -> VecEnv:
    """The run's environments, at the first stage of its curriculum if it has one."""
    option, stages = config.curriculum.option, config.curriculum.stages
    if option is not None:
        config = replace(config, env_kwargs={**config.env_kwargs, option: stages[0]})
    return build_env(config, config.n_envs)


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
    ours = ("num_envs", "autoreset_mode", "render_mode")
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
    if config.device != "auto":
        _check_device(config.device)
    a2c = config.a2c
    return RunA2C(
        _policy_for(env),
        env,
        learning_rate=a2c.learning_rate,
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


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0]
        raise UsageError(
            f"device {device!r} is not to be had here, use cpu or auto: {first_line}"
        ) from error


def train(config: TrainConfig, preset: str, run_dir: Path | None) -> int:
    """Train from the start into a new run directory; the exit status."""
    torch.set_num_threads(config.threads)
    with user_errors():
        model = build_model(config, build_training_env(config))
        run = RunDirectory.create(
            run_dir or _default_run_dir(preset, config.seed),
            kind="rl",
            preset=preset,
            config=to_dict(config),
            versions={name: version(name) for name in ("stable-baselines3", "gymnasium")},
        )
    return _learn(model, run, config, config.total_timesteps, build_curriculum(config))


def resume(run_path: Path, preset: str | None, total_timesteps: int | None) -> int:
    """Go on with a run from its latest checkpoint; the exit status."""
    with user_errors():
        run, config = open_run(run_path)
        if preset is not None and preset != run.preset:
            raise UsageError(f"{run_path} is a run of {run.preset}, not of {preset}")
        total = total_timesteps or config.total_timesteps
        checkpoint = latest_checkpoint(run.checkpoints_path)
        content = load_checkpoint(checkpoint)
        torch.set_num_threads(config.threads)
        model = build_model(config, build_training_env(config))
        curriculum = build_curriculum(config)
        with _naming(checkpoint):
            restore(model, content, curriculum)
        if model.num_timesteps >= total:
            raise UsageError(
                f"{run_path} is already trained for {model.num_timesteps:,} steps; "
                "give a larger --total-timesteps to go on"
            )
    return _learn(model, run, config, total, curriculum, content)


def open_run(path: Path) -> tuple[RunDirectory, TrainConfig]:
    """A run of ``train_rl.py`` and its config.

    Raises:
        RunError: if it is missing, broken, of a newer format, or of another kind.
    """
    run = RunDirectory.open(path)
    if run.kind != "rl":
        raise RunError(f"{path} is a run of kind {run.kind!r}, not a reinforcement-learning run")
    return run, from_dict(TrainConfig, run.config, f"{path / CONFIG_NAME}: config")


@contextmanager
def _naming(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except RunError as error:
        raise RunError(f"{checkpoint}: {error}") from error


def load_policy(path: Path) -> tuple[RunDirectory, TrainConfig, PlasticPolicy]:
    """A run, its config, and its policy with the weights of the latest checkpoint, on the CPU."""
    run, config = open_run(path)
    checkpoint = latest_checkpoint(run.checkpoints_path)
    content = load_checkpoint(checkpoint)
    model = build_model(replace(config, device="cpu"), build_env(config, 1))
    with _naming(checkpoint):
        restore_policy(model.policy, content)
    return run, config, model.policy


def _learn(
    model: RunA2C,
    run: RunDirectory,
    config: TrainConfig,
    total: int,
    curriculum: Curriculum | None,
    resumed: dict[str, Any] | None = None,
) -> int:
    """Learn up to ``total`` steps; ``resumed`` is the checkpoint the model came from."""
    env = model.env
    assert env is not None
    console = Console(stderr=True)
    started = time.time() - (resumed["elapsed"] if resumed else 0.0)
    model.run_started_ns = int(started * 1e9)

    def save() -> None:
        content = take(model, time.time() - started, curriculum)
        save_checkpoint(run.checkpoints_path, model.num_timesteps, content)

    model.set_logger(make_logger(run, model.num_timesteps, resumed["recorded"] if resumed else {}))
    progress = ProgressCallback(total)
    checkpoints = RunCheckpoints(save, config.checkpoint_every)
    console.print(f"run directory: {run.path}", highlight=False, soft_wrap=True)
    try:
        model.learn(
            total - model.num_timesteps,
            callback=[progress, checkpoints, *([curriculum] if curriculum else [])],
            log_interval=1,
            reset_num_timesteps=False,
        )
    except KeyboardInterrupt:
        progress.close()  # before anything is said below it
        how = f"{_python()} train_rl.py --resume {shlex.quote(str(run.path))}"
        console.print(f"interrupted; go on with: {how}", highlight=False, soft_wrap=True)
        return 130
    except FloatingPointError as error:
        progress.close()
        console.print(f"error: {error}", highlight=False, soft_wrap=True)
        return 1
    finally:
        progress.close()
        checkpoints.close()
        env.close()
        model.logger.close()
    seconds = time.time() - started
    console.print(
        f"trained {model.num_timesteps:,} steps in {seconds:.0f} s; "
        f"measure with: {_python()} evaluate.py {shlex.quote(str(run.path))}",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _python() -> str:
    """This interpreter, as one types it here."""
    path = Path(sys.executable)
    if which("python") == str(path):
        return "python"
    inside = path.is_relative_to(Path.cwd())
    return shlex.quote(str(path.relative_to(Path.cwd()) if inside else path))


def _default_run_dir(preset: str, seed: int) -> Path:
    return Path("logs") / f"{preset}-seed{seed}-{time.strftime('%Y%m%d-%H%M%S')}"
