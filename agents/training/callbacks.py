"""SB3 callbacks of a training run: progress and checkpoints, and pictures for TensorBoard."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from statistics import mean
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from plasticrl.agents.divergence import divergence_signs
from plasticrl.agents.on_policy import RecurrentOnPolicyAlgorithm
from plasticrl.agents.policies import PlasticPolicy
from plasticrl.agents.training.config import TrainConfig
from plasticrl.agents.training.logger import TensorBoardWriter
from plasticrl.agents.watching.agent import TrainedAgent
from plasticrl.agents.watching.recording import frames_mode, record_episode
from plasticrl.runs import (
    DivergedError,
    RunDirectory,
    TrainingSession,
    UsageError,
    UserCodeError,
    get_rng_state,
    rounded,
    set_rng_state,
)
from plasticrl.viewer import EpisodeTrace
from plasticrl.viewer.panels import heat_map
from plasticrl.viewer.still import filmstrip
from plasticrl.viewer.story import absences

PICTURES_EVERY = 2000
"""Number of updates from one recorded episode to the next."""
LONGEST = 500
"""Steps after which a recorded episode is cut, because some environments never end one."""
N_STILLS = 7
"""Number of stills of an episode."""
DRAWN_EVERY = 10
"""Steps from one rendering to the next. Only rendered steps can become stills."""


class SessionCallback(BaseCallback):
    """Reports every update to the training session, for progress, checkpoints and Ctrl-C.

    Args:
        models: those whose mean reward and steps are shown; by default the callback's model.
    """

    def __init__(
        self, session: TrainingSession, models: Sequence[RecurrentOnPolicyAlgorithm] = ()
    ) -> None:
        super().__init__()
        self.session, self.models = session, models

    def _on_rollout_start(self) -> None:
        # A checkpoint can hold the whole state only between an update and the next rollout.
        self._report()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._report(ended=True)

    def _report(self, ended: bool = False) -> None:
        assert isinstance(self.model, RecurrentOnPolicyAlgorithm)
        models = self.models or [self.model]
        buffers = [model.ep_info_buffer for model in models if model.ep_info_buffer]
        means = [mean(episode["r"] for episode in episodes) for episodes in buffers]
        figure = f"reward {rounded(mean(means)) if means else '-'}"
        done = models[0].num_timesteps
        self.session.between_updates(self.model.n_rollouts, done, figure, ended)


class DivergenceWarnings(BaseCallback):
    """Warns once about each sign that the training diverges, and suggests a remedy.

    Args:
        notify: is called with the warning.
        patience: number of consecutive updates in which a sign must be present.
    """

    def __init__(self, notify: Callable[[str], None], patience: int = 5) -> None:
        super().__init__()
        self.notify, self.patience = notify, patience
        self._in_a_row: Counter[str] = Counter()
        self._warned: set[str] = set()
        self._largest_reward = 0.0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        model = self.model
        assert isinstance(model, RecurrentOnPolicyAlgorithm)
        for sign, sentence in divergence_signs(model, self._largest_reward).items():
            self._in_a_row[sign] = self._in_a_row[sign] + 1 if sentence else 0
            if self._in_a_row[sign] == self.patience and sign not in self._warned:
                self.notify(f"warning: {sentence} (after {model.num_timesteps:,} steps)")
                self._warned.add(sign)

    def _on_rollout_end(self) -> None:
        assert isinstance(self.model, RecurrentOnPolicyAlgorithm)
        rewards = np.abs(self.model.rollout_buffer.rewards)
        self._largest_reward = max(self._largest_reward, float(rewards.max()))

    def _on_training_end(self) -> None:
        self._on_rollout_start()


class EpisodePictures(BaseCallback):
    """Plays an episode and writes pictures to TensorBoard: stills, and the trace at its end.

    It does so before the first update, after every ``every`` updates and at the end, always with
    the run's seed. The episode is played in a separate environment, and all random number
    generators are restored, so that the pictures do not change the training.

    Args:
        make_context: returns a context manager, within which an episode is played.
        every: number of updates from one episode to the next.
    """

    def __init__(
        self,
        run: RunDirectory,
        config: TrainConfig,
        make_context: Callable[[], AbstractContextManager[None]] = nullcontext,
        every: int = PICTURES_EVERY,
    ) -> None:
        super().__init__()
        self.run = run
        self.config = config
        self.every = every
        self.make_context = make_context
        self._step_shown = 0

    def _on_training_start(self) -> None:
        # A resumed run wrote its pictures when it stopped.
        self._step_shown = self.model.num_timesteps
        if self._step_shown == 0:
            self._show()

    def _on_rollout_start(self) -> None:
        assert isinstance(self.model, RecurrentOnPolicyAlgorithm)
        if self.model.n_rollouts % self.every == 0:
            self._show_once()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._show_once()

    def _show_once(self) -> None:
        if self.model.num_timesteps != self._step_shown:
            self._step_shown = self.model.num_timesteps
            self._show()

    def _show(self) -> None:
        """Write the pictures of an episode, or the reason why there are none."""
        pictures: dict[str, Any] = {}
        try:
            with self.make_context():
                episode = self._play()
        except (DivergedError, UsageError, UserCodeError) as error:  # they do not stop the training
            left_out = str(error)
        else:
            pictures, left_out = _pictures(episode), "; ".join(absences(episode).values())
        for output in self.logger.output_formats:
            if isinstance(output, TensorBoardWriter):
                output.write_episode(pictures, left_out, self.model.num_timesteps)

    def _play(self) -> EpisodeTrace:
        policy = self.model.policy
        assert isinstance(policy, PlasticPolicy)
        random_numbers, training = get_rng_state(), policy.training
        policy.set_training_mode(False)
        try:
            return record_episode(
                TrainedAgent(
                    self.run,
                    self.config,
                    policy,
                    self.model.num_timesteps,
                    self.model.get_vec_normalize_env(),
                ),
                self.config.seed,
                frames_mode(self.config),
                longest=LONGEST,
                picture_every=DRAWN_EVERY,
            )
        finally:
            policy.set_training_mode(training)
            set_rng_state(random_numbers)


def _pictures(episode: EpisodeTrace) -> dict[str, Any]:
    """The pictures of an episode, RGB, by their names in TensorBoard."""
    last = (episode.n_steps - 1) // DRAWN_EVERY
    steps = sorted({DRAWN_EVERY * round(step) for step in np.linspace(0, last, N_STILLS)})
    pictures: dict[str, Any] = {}
    if (strip := filmstrip([episode], steps)) is not None:
        pictures["episode/filmstrip"] = strip
    if episode.synapses is not None:
        trace = episode.synapses.trace
        pictures["plastic/trace"] = heat_map(trace.shares(episode.n_steps - 1))
    return pictures
