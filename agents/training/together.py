"""Trains the runs of several seeds together, with their nets joined into one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from plasticrl.agents.population import PopulationA2C
from plasticrl.agents.recurrent_a2c import RecurrentA2C
from plasticrl.agents.training.callbacks import SessionCallback
from plasticrl.agents.training.config import TrainConfig
from plasticrl.agents.training.environments import build_training_env, is_native
from plasticrl.agents.training.run import Trained, TrainingRun
from plasticrl.agents.training.sizes import check_run_memory
from plasticrl.agents.vec_env import BatchVecEnv
from plasticrl.core import Plasticity
from plasticrl.core.backends.plastic_net import are_supported
from plasticrl.runs import (
    DivergedError,
    RunError,
    TrainingSession,
    UserCodeError,
    get_rng_state,
)


def why_not_together(config: TrainConfig) -> str | None:
    """Return the reason why runs of this config cannot be trained together; None if they can."""
    algorithm, core = config.algorithm, config.core
    reasons = {
        "the algorithm is not A2C": config.name != "a2c",
        "the core is not a plastic_rnn": core.name != "plastic_rnn",
        "the core has several layers": getattr(core, "num_layers", 1) > 1,
        "the core has options that only the eager backend computes": isinstance(core, Plasticity)
        and not are_supported(core),
        "the critic has a core of its own": not algorithm.share_features_extractor,
        "bootstrap_truncated is on": algorithm.bootstrap_truncated,
        "the environments are not a native batch": not is_native(config),
        "observations are normalized": config.normalize,
        "there is a curriculum": config.curriculum.option is not None,
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
        check_run_memory(config, len(paths))
        runs: list[TrainingRun] = []
        random_states = []
        try:
            for seed, path in paths.items():
                runs.append(TrainingRun.start(replace(config, seed=seed), preset, path, dropped))
                random_states.append(get_rng_state())
        except BaseException:
            for run in runs:
                with suppress(RunError, UserCodeError):  # they would hide the first error
                    run.close()
                run.run.discard()
            raise
        return cls(runs, random_states)

    def learn(self, session: TrainingSession) -> list[Trained]:
        """Train all runs to the end, as ``TrainingRun.learn`` does; return what each has done.

        An error ends the training of all. What they have saved stays, and each can be resumed by
        itself.
        """
        first, runs = self.runs[0], self.runs
        config, models = first.config, cast(list[RecurrentA2C], [run.model for run in self.runs])
        with ExitStack() as stack:
            for run in runs:
                stack.enter_context(run.closing())
                run.begin()
            env = build_training_env(replace(config, n_envs=len(runs) * config.n_envs))
            stack.callback(env.close)
            joint = PopulationA2C(models, self._random_states, cast(BatchVecEnv, env))

            def save() -> None:
                for index, run in enumerate(runs):
                    with joint.as_if_alone(index), _seed_in_errors(run):
                        run.save()

            callbacks = [
                run.callbacks(partial(_notify, session, run), partial(joint.as_if_alone, index))
                for index, run in enumerate(runs)
            ]
            total, every = first.total_timesteps, config.checkpoint_every
            with session.training(save, unit="steps", done=0, total=total, every_updates=every):
                joint.learn_together(total, callbacks, SessionCallback(session, models))
        return [run.trained for run in runs]


def _notify(session: TrainingSession, run: TrainingRun, message: str) -> None:
    session.progress.notify(f"seed {run.config.seed}: {message}")


@contextmanager
def _seed_in_errors(run: TrainingRun) -> Iterator[None]:
    """A context that names the seed in a ``DivergedError``."""
    try:
        yield
    except DivergedError as error:
        error.args = (f"seed {run.config.seed}: {error}",)
        raise
