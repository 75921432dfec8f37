"""Training runs: config -> model -> learn -> run directory; and going on with one."""

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from plasticrl.agents.curriculum import Curriculum
from plasticrl.agents.policies import PlasticPolicy
from plasticrl.agents.training.building import (
    RunA2C,
    build_curriculum,
    build_env,
    build_model,
    build_training_env,
    user_errors,
)
from plasticrl.agents.training.callbacks import EpisodePictures, ProgressCallback, RunCheckpoints
from plasticrl.agents.training.config import TrainConfig
from plasticrl.agents.training.logger import make_logger
from plasticrl.agents.training.snapshot import restore, restore_policy, take
from plasticrl.core.backends.compiling import compilation_told
from plasticrl.runs import (
    CONFIG_NAME,
    CtrlC,
    RunDirectory,
    RunError,
    UsageError,
    default_run_dir,
    from_dict,
    interrupted,
    latest_checkpoint,
    load_checkpoint,
    python_here,
    save_checkpoint,
    to_dict,
)


def train(config: TrainConfig, preset: str, run_dir: Path | None) -> int:
    """Train from the start into a new run directory; the exit status."""
    torch.set_num_threads(config.threads)
    with user_errors():
        model = build_model(config, build_training_env(config))
        run = RunDirectory.create(
            run_dir or default_run_dir(preset, config.seed),
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
        raise RunError(
            f"{path} is a run of kind {run.kind!r}, not a reinforcement-learning run: "
            "one of train_supervised.py goes on with its own --resume"
        )
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
    pictures = EpisodePictures(config, run.preset)
    console.print(f"run directory: {run.path}", highlight=False, soft_wrap=True)
    try:
        with CtrlC() as ctrl_c, compilation_told(progress.compiling):
            checkpoints = RunCheckpoints(save, config.checkpoint_every, ctrl_c)
            model.learn(
                total - model.num_timesteps,
                callback=[progress, checkpoints, pictures, *([curriculum] if curriculum else [])],
                log_interval=1,
                reset_num_timesteps=False,
            )
    except KeyboardInterrupt:
        progress.close()  # before anything is said below it
        return interrupted("train_rl.py", run)
    finally:
        progress.close()
        env.close()
        model.logger.close()
    seconds = time.time() - started
    console.print(
        f"trained {model.num_timesteps:,} steps in {seconds:.0f} s; "
        f"measure with: {python_here()} evaluate.py {shlex.quote(str(run.path))}",
        highlight=False,
        soft_wrap=True,
    )
    return 0
