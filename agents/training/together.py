"""Trains the runs of several seeds together, with their nets joined into one."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from plasticrl.agents.population import PopulationA2C
from plasticrl.agents.training.config import TrainConfig
from plasticrl.agents.training.environments import build_training_env, is_native
from plasticrl.agents.training.logger import quiet_writer_threads
from plasticrl.agents.training.run import Trained, TrainingRun
from plasticrl.runs import RunError, TrainingSession, UserCodeError, get_rng_state, rounded
from plasticrl.runs.directory import make_empty_folder


def why_not_together(config: TrainConfig) -> str | None:
    """Return the reason why runs of this config cannot be trained together; None if they can."""
    algorithm, core = config.algorithm, config.core
    reasons = {
        "the algorithm is not A2C": config.name != "a2c",
        "the core is not a plastic_rnn": core.name != "plastic_rnn",
        "the core has several layers": getattr(core, "num_layers", 1) > 1,
        "the critic has a core of its own": not algorithm.share_features_extractor,
        "bootstrap_truncated is on": algorithm.bootstrap_truncated,
        "the environments are not a native batch": not is_native(config),
        "observations are normalized": config.normalize,
        "there is a curriculum": config.curriculum.option is not None,
        "the device is not the CPU": config.device != "cpu",
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


class JointRuns:
    """New runs of several seeds, whose settings are otherwise equal.

    Args:
        runs: the runs, for whose config ``why_not_together`` is None.
        random_states: for each run, the state of the global random number generators after it was
            started.
    """

    def __init__(
        self, runs: Sequence[TrainingRun], random_states: Sequence[dict[str, Any]]
    ) -> None:
        self.runs, self._random_states = runs, random_states

    @classmethod
    def start(
        cls,
        config: TrainConfig,
        preset: str,
        paths: Mapping[int, Path],
        dropped: Mapping[str, Any] | None = None,
    ) -> "JointRuns":
        """Begin a run for each seed, each in a new directory.

        Args:
            paths: the directories by seed.
            dropped: as for ``TrainingRun.start``, whose errors are raised.
        """
        for path in paths.values():
            make_empty_folder(path)  # so that no run begins if another cannot
        runs, random_states = [], []
        with ExitStack() as started:
            for seed, path in paths.items():
                run = TrainingRun.start(replace(config, seed=seed), preset, path, dropped)
                started.callback(_close, run)
                runs.append(run)
                random_states.append(get_rng_state())
            started.pop_all()
        return cls(runs, random_states)

    def learn(self, session: TrainingSession) -> list[Trained]:
        """Train all runs to the end, as ``TrainingRun.learn`` does; return what each has done.

        An error ends the training of all. What they have saved stays, and each can be resumed by
        itself.
        """
        first, runs = self.runs[0], self.runs
        config = first.config
        with quiet_writer_threads(), ExitStack() as ending:
            for run in runs:
                ending.callback(_close, run)
                run.begin()
            env = build_training_env(replace(config, n_envs=len(runs) * config.n_envs))
            ending.callback(env.close)
            models: Any = [run.model for run in runs]
            joint = PopulationA2C(models, self._random_states, env)  # type: ignore[arg-type]

            def save() -> None:
                for index, run in enumerate(runs):
                    with joint.as_if_alone(index):
                        run.save()

            notify = session.progress.notify
            callbacks = [
                run.callbacks(
                    partial(_notify, notify, run.config.seed), partial(joint.as_if_alone, index)
                )
                for index, run in enumerate(runs)
            ]
            total, every = first.total_timesteps, config.checkpoint_every
            with session.training(save, unit="steps", done=0, total=total, every_updates=every):
                joint.learn_together(total, callbacks, _Report(session))
        return [run.trained for run in runs]


class _Report(BaseCallback):
    """Reports every update to the training session."""

    model: PopulationA2C

    def __init__(self, session: TrainingSession) -> None:
        super().__init__()
        self._session = session

    def _on_rollout_start(self) -> None:
        self._report()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._report(ended=True)

    def _report(self, ended: bool = False) -> None:
        models = self.model.models
        rewards = [
            mean(info["r"] for info in one.ep_info_buffer) for one in models if one.ep_info_buffer
        ]
        reward = rounded(mean(rewards)) if rewards else "-"
        done = models[0].num_timesteps
        self._session.between_updates(models[0].n_rollouts, done, f"reward {reward}", ended)


def _notify(notify: Callable[[str], None], seed: int, message: str) -> None:
    notify(f"seed {seed}: {message}")


def _close(run: TrainingRun) -> None:
    with suppress(RunError, UserCodeError):  # an earlier error would be hidden
        run.close()
