"""Starts, resumes and carries out the training runs of agents."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from plasticrl.agents.curriculum import Curriculum
from plasticrl.agents.distributed import ALONE, Ranks
from plasticrl.agents.divergence import describe_weights
from plasticrl.agents.failures import closed_on_error, environment_errors
from plasticrl.agents.normalization import describe_statistics
from plasticrl.agents.options import check_count
from plasticrl.agents.training.building import RunAlgorithm, build_curriculum, build_model
from plasticrl.agents.training.callbacks import DivergenceWarnings, EpisodePictures, SessionCallback
from plasticrl.agents.training.config import KIND, TrainConfig, open_run
from plasticrl.agents.training.environments import build_training_env, is_native, is_own
from plasticrl.agents.training.logger import flush, make_logger, quiet_writer_threads
from plasticrl.agents.training.sizes import check_run_memory
from plasticrl.agents.training.snapshot import (
    checkpoint_content,
    checkpoint_in_errors,
    of_rank,
    restore,
)
from plasticrl.agents.vec_env import BatchVecEnv
from plasticrl.runs import (
    DivergedError,
    FolderLock,
    RunDirectory,
    RunError,
    TrainingSession,
    UsageError,
    UserCodeError,
    keep_freed_memory,
    load_latest,
    remove_old_checkpoints,
    save_checkpoint,
    to_dict,
)


def _of_rank(config: TrainConfig, ranks: Ranks) -> TrainConfig:
    """Return the config with this rank's share of the environments.

    Raises:
        UsageError: several processes cannot train with this config.
    """
    if ranks.world_size == 1:
        return config
    reasons = {
        "normalization, which also needs the statistics of all: add --no-normalize": (
            config.normalize
        ),
        "a curriculum": config.curriculum.option is not None,
        "trials, wrappers or environments in processes": is_own(config) and not is_native(config),
        f"{config.env_id}, which is not an environment of this package": not is_own(config),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UsageError(f"several processes cannot train with {reason}")
    return replace(config, n_envs=ranks.share(config.n_envs))


def _distribute(model: RunAlgorithm, config: TrainConfig, ranks: Ranks) -> None:
    """Make a model one of those that the ranks train together, if there are several."""
    if ranks.world_size == 1:
        return
    model.distribute(ranks)
    assert model.env is not None
    model.env.seed(config.seed + ranks.rows(config.n_envs).start)


class Trained(NamedTuple):
    """What ``TrainingRun.learn`` has done, counted from the start of the run."""

    n_timesteps: int
    """Number of environment steps."""
    seconds: float
    """Training time."""


@dataclass
class TrainingRun:
    """A run that is ready to train, either new or restored from its latest checkpoint."""

    run: RunDirectory
    config: TrainConfig
    model: RunAlgorithm
    curriculum: Curriculum | None
    lock: FolderLock | None
    """None in a rank that does not lead."""
    total_timesteps: int
    """Number of environment steps, counted from the start of the run, at which training ends."""
    seconds: float = 0.0
    """Training time before the run was resumed."""
    _started_at: float = field(default=0.0, init=False)
    damaged: tuple[str, ...] = ()
    """For each checkpoint later than the restored one, a sentence about why it is unreadable."""
    ranks: Ranks = ALONE
    """The processes that train the run together. Only the leading one writes it."""

    @classmethod
    def start(
        cls,
        config: TrainConfig,
        preset: str,
        path: Path,
        dropped: Mapping[str, Any] | None = None,
        ranks: Ranks = ALONE,
    ) -> "TrainingRun":
        """Begin a run in a new directory.

        Args:
            dropped: the preset's settings that ``vary_config`` dropped, for the run's config.json.
            ranks: the processes that train the run together. Each has a share of the environments.

        Raises:
            UsageError: the settings contradict each other or cannot be trained by several
                processes, or the directory is not empty.
            UserCodeError: the environment failed.
            WriteError: the directory cannot be written.
        """
        check_run_memory(config)
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        own = _of_rank(config, ranks)
        path = ranks.gather_objects(path)[0]
        with quiet_writer_threads(), closed_on_error(build_training_env(own)) as env:
            model = build_model(own, env)
            _distribute(model, config, ranks)
            # The curriculum is checked now, so that a mistake leaves no run directory.
            if (curriculum := build_curriculum(config)) is not None:
                curriculum.check(env)
            total = config.total_timesteps
            if not ranks.is_main:
                model.set_logger(Logger(None, []))
                run = RunDirectory(path, KIND, preset, to_dict(config), {}, {})
                return cls(run, config, model, curriculum, None, total, ranks=ranks)
            run = RunDirectory.create(
                path,
                kind=KIND,
                preset=preset,
                config=to_dict(config),
                dropped=dropped,
                versions={name: version(name) for name in ("stable-baselines3", "gymnasium")},
            )
            with run.discarded_on_error():
                lock = FolderLock(path)
                model.set_logger(make_logger(run, 0, {}, lock.check))
        return cls(run, config, model, curriculum, lock, total, ranks=ranks)

    @classmethod
    def resume(
        cls,
        path: Path,
        total_timesteps: int | None = None,
        allowed: Collection[str] = (),
        device: str | None = None,
        ranks: Ranks = ALONE,
    ) -> "TrainingRun":
        """Continue a run from its latest checkpoint.

        Args:
            total_timesteps: number of steps, counted from the start of the run, at which training
                ends; by default the value in the run's config.
            allowed: the modules that the run's config may name. Those that it names are imported.
            device: a device for this resumption only; by default the one in the run's config. On
                another device, the policy samples other actions.
            ranks: the processes that train the run together. There may be another number of them
                than before.

        Raises:
            RunError: the run is missing or damaged, or another process trains it.
            UserCodeError: the environment failed.
            WriteError: the directory cannot be written.
            UsageError: the run has already been trained for that many steps, or the device is not
                available, or several processes cannot train with the run's config.
        """
        if total_timesteps is not None:
            check_count(total_timesteps=total_timesteps)
        run, config = open_run(path, allowed)
        config = config if device is None else replace(config, device=device)
        total = total_timesteps or config.total_timesteps
        lock = FolderLock(path) if ranks.is_main else None
        check_run_memory(config)
        checkpoint = load_latest(run.checkpoints_path)
        content = checkpoint.content
        torch.set_num_threads(config.threads)
        keep_freed_memory()
        curriculum = build_curriculum(config)
        own = _of_rank(config, ranks)
        with quiet_writer_threads(), closed_on_error(build_training_env(own)) as env:
            model = build_model(own, env)
            _distribute(model, config, ranks)
            with checkpoint_in_errors(checkpoint.path):
                if ranks.world_size > 1:
                    content = of_rank(content, ranks, config.n_envs)
                restore(model, content, curriculum)
                if model.num_timesteps != checkpoint.step:
                    raise RunError(f"num_timesteps is {model.num_timesteps:,}")
            if total_timesteps is not None and model.num_timesteps >= total:
                raise UsageError(
                    f"total_timesteps must be above {model.num_timesteps:,} to continue: {path} is "
                    "already trained for that many steps"
                )
            ranks.wait()  # until all have read the checkpoint
            if lock is None:
                model.set_logger(Logger(None, []))
            else:
                recorded = content["recorded"]
                model.set_logger(make_logger(run, model.num_timesteps, recorded, lock.check))
                remove_old_checkpoints(checkpoint.path)  # if the run was killed before it did so
        seconds, damaged = content["elapsed"], checkpoint.damaged
        return cls(run, config, model, curriculum, lock, total, seconds, damaged, ranks)

    @property
    def changed_total_timesteps(self) -> int | None:
        """``total_timesteps``, if it differs from the run's config; otherwise None."""
        is_unchanged = self.total_timesteps == self.config.total_timesteps
        return None if is_unchanged else self.total_timesteps

    @property
    def changed_device(self) -> str | None:
        """The device, if it differs from the one in the run's config.json; otherwise None."""
        return None if self.config.device == self.run.config["device"] else self.config.device

    @property
    def resumes_exactly(self) -> bool:
        """Whether a resumed run has bit for bit the results of an uninterrupted one."""
        assert self.model.env is not None
        return isinstance(self.model.env.unwrapped, BatchVecEnv)

    def learn(self, session: TrainingSession | None = None) -> Trained:
        """Train to the end.

        Args:
            session: shows progress and saves checkpoints; by default nothing is shown.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed. A checkpoint has been saved, unless it was
                pressed twice.
            DivergedError: a reward, the net's activity, the gradient, a weight or a statistic of
                the normalization is not finite.
            RunError: a checkpoint is too large.
            WriteError: the run's directory cannot be written.
            UserCodeError: an environment failed.
        """
        self.begin()
        with self.closing():
            self._learn(session or TrainingSession())
        return self.trained

    @contextmanager
    def closing(self) -> Iterator[None]:
        """A context at whose end the run is closed. It raises the errors of ``close``, unless there
        was one before.
        """
        with quiet_writer_threads():
            try:
                yield
            except BaseException:
                with suppress(RunError, UserCodeError):  # they would hide the first error
                    self.close()
                raise
            self.close()

    def begin(self) -> None:
        """Start to measure the training time, which includes that before a resumption."""
        # Training time is measured with a monotonic clock, which cannot be set back.
        self._started_at = time.monotonic() - self.seconds
        self.model.run_started_ns = int((time.time() - self.seconds) * 1e9)

    @property
    def trained(self) -> Trained:
        """The steps and the time that the training has taken so far."""
        return Trained(self.model.num_timesteps, time.monotonic() - self._started_at)

    def save(self) -> None:
        """Save a checkpoint. It is called between two updates.

        Raises:
            DivergedError: a weight or a statistic of the normalization is not finite.
            RunError: the checkpoint is too large.
            WriteError: the run's directory cannot be written.
        """
        model = self.model
        problem = describe_weights(model.policy)
        if problem := problem or describe_statistics(model.get_vec_normalize_env()):
            raise DivergedError(f"{problem} (after {model.num_timesteps:,} steps)")
        content = checkpoint_content(model, self.trained.seconds, self.curriculum)
        if self.lock is None:
            return
        self.lock.check()
        flush(model.logger)  # a resumed run does not write these metrics again
        save_checkpoint(self.run.checkpoints_path, model.num_timesteps, content)

    def close(self) -> None:
        """Close the environments and the logs, and release the run's directory.

        Raises:
            UserCodeError: an environment failed. The rest is closed before this is raised.
            WriteError: TensorBoard's file cannot be written.
        """
        with ExitStack() as stack:
            if self.lock is not None:
                stack.callback(self.lock.release)
            stack.callback(self.model.logger.close)
            assert self.model.env is not None
            with environment_errors(self.model.env):
                self.model.env.close()

    def callbacks(
        self,
        notify: Callable[[str], None],
        make_context: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> list[BaseCallback]:
        """Return the run's callbacks, except the one that reports to the training session.

        Args:
            notify: is called with warnings.
            make_context: as for ``EpisodePictures``.
        """
        if not self.ranks.is_main:
            return []
        pictures = EpisodePictures(self.run, self.config, make_context=make_context)
        return [DivergenceWarnings(notify), pictures]

    def _learn(self, session: TrainingSession) -> None:
        model, done, total = self.model, self.model.num_timesteps, self.total_timesteps
        if done >= total:  # the run was killed after its last checkpoint
            return
        # SessionCallback saves checkpoints, so the pictures must be written before it is called.
        callbacks = [*self.callbacks(session.progress.notify), SessionCallback(session)]
        if self.curriculum is not None:
            callbacks.append(self.curriculum)
        every = self.config.checkpoint_every
        with session.training(self.save, unit="steps", done=done, total=total, every_updates=every):
            model.learn(total - done, callback=callbacks, log_interval=1, reset_num_timesteps=False)
