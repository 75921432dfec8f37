"""What happens beside a training run: checkpoints, Ctrl-C, the progress bar, pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import TensorBoardOutputFormat

from plasticrl.agents.policies import PlasticPolicy
from plasticrl.agents.training.config import TrainConfig
from plasticrl.agents.watching.recording import frames_mode, record_episode
from plasticrl.runs import COMPILING, CtrlC, Lines, Timing, get_rng_state, set_rng_state
from plasticrl.viewer import EpisodeTrace
from plasticrl.viewer.panels import heat_map
from plasticrl.viewer.still import filmstrip
from plasticrl.viewer.story import absences

PICTURES_EVERY = 2000
"""Updates from one recorded episode to the next."""
LONGEST = 500
"""The most steps of a recorded episode, since some environments never end."""
N_STILLS = 7
DRAWN_EVERY = 10
"""Steps from one rendering to the next, which can be slower than a step. The stills show these."""


class RunCheckpoints(BaseCallback):
    """Calls ``save`` between updates: every so many, on Ctrl-C, and at the end.

    The first Ctrl-C lets the update in progress finish, saves, and raises ``KeyboardInterrupt``;
    a second one interrupts at once.

    Args:
        save: writes the checkpoint.
        every: updates between two checkpoints.
        ctrl_c: around the training.
    """

    def __init__(self, save: Callable[[], None], every: int, ctrl_c: CtrlC) -> None:
        super().__init__()
        self.save = save
        self.every = every
        self.ctrl_c = ctrl_c
        self._updates_saved = 0

    def _on_training_start(self) -> None:
        self._updates_saved = self.model._n_updates

    def _on_rollout_start(self) -> None:
        # Here, between one update and the next rollout, the run is in one piece.
        updates = self.model._n_updates
        if self.ctrl_c.pressed or updates - self._updates_saved >= self.every:
            self.save()
            self._updates_saved = updates
        if self.ctrl_c.pressed:
            raise KeyboardInterrupt

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self.save()


class ProgressCallback(BaseCallback):
    """A progress bar with the mean reward of the last episodes; without a terminal, lines.

    Args:
        total_timesteps: where the bar ends.
    """

    def __init__(self, total_timesteps: int) -> None:
        super().__init__()
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.fields[doing]}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} steps"),
            TextColumn("reward {task.fields[reward]}"),
            Timing(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.total_timesteps = total_timesteps
        self.task = self.progress.add_task("", total=total_timesteps, reward="-", doing="starting")

    def compiling(self) -> None:
        """Say that the first update takes longer."""
        self.progress.update(self.task, doing="compiling")
        self.console.print(COMPILING, highlight=False)

    def _on_training_start(self) -> None:
        self.updates_before = self.model._n_updates
        self.lines = Lines(self.total_timesteps, self.model.num_timesteps)
        self.progress.reset(self.task, completed=self.model.num_timesteps)
        self.progress.start()

    def _on_rollout_start(self) -> None:
        episodes = self.model.ep_info_buffer or ()
        reward = f"{np.mean([episode['r'] for episode in episodes]):.1f}" if episodes else "-"
        steps, total = self.model.num_timesteps, self.total_timesteps
        if self.model._n_updates > self.updates_before:
            self.progress.update(self.task, completed=steps, reward=reward, doing="training")
        if not self.console.is_terminal and self.lines.due(steps):
            line = f"{100 * steps // total} %: {steps:,} of {total:,} steps, reward {reward}"
            self.console.print(line, highlight=False)

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._on_rollout_start()
        self.close()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.progress.stop()


class EpisodePictures(BaseCallback):
    """Plays an episode and writes pictures of it to TensorBoard: stills, and its last trace.

    It does so before the first update, after every `every` updates and at the end, always with the
    run's own seed. The episode is played in a separate environment, and all random number
    generators are restored, so that the run learns the same bits with these pictures and without.

    Args:
        config: names the environment.
        preset: the run's.
        every: updates between two episodes.
    """

    def __init__(self, config: TrainConfig, preset: str, every: int = PICTURES_EVERY) -> None:
        super().__init__()
        self.config = config
        self.preset = preset
        self.every = every
        self._step_shown = 0

    def _on_training_start(self) -> None:
        # A resumed run was shown when it stopped.
        self._step_shown = self.model.num_timesteps
        if self._step_shown == 0:
            self._show()

    def _on_rollout_start(self) -> None:
        if self.model._n_updates % self.every == 0:
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
        """Write the pictures of an episode, or else the reason why there are none."""
        for output in self.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat):
                writer, step = output.writer, self.model.num_timesteps
                try:
                    episode = self._play()
                # A second copy of a user's environment may fail in any way: the run goes on.
                except Exception as error:
                    writer.add_text("episode/left_out", str(error), step)
                    continue
                for name, picture in _pictures(episode).items():
                    writer.add_image(name, np.asarray(picture), step, dataformats="HWC")
                if absent := absences(episode):
                    writer.add_text("episode/left_out", "; ".join(absent.values()), step)

    def _play(self) -> EpisodeTrace:
        policy = self.model.policy
        assert isinstance(policy, PlasticPolicy)
        random_numbers, training = get_rng_state(), policy.training
        policy.set_training_mode(False)
        try:
            return record_episode(
                policy,
                self.config,
                self.preset,
                self.config.seed,
                frames_mode(self.config),
                longest=LONGEST,
                picture_every=DRAWN_EVERY,
            )
        finally:
            policy.set_training_mode(training)
            set_rng_state(random_numbers)


def _pictures(episode: EpisodeTrace) -> dict[str, Any]:
    """RGB images by their names in TensorBoard."""
    last = (episode.n_steps - 1) // DRAWN_EVERY
    steps = sorted({DRAWN_EVERY * round(step) for step in np.linspace(0, last, N_STILLS)})
    pictures: dict[str, Any] = {}
    if (strip := filmstrip([episode], steps)) is not None:
        pictures["episode/filmstrip"] = strip
    if episode.synapses is not None:
        trace = episode.synapses.trace
        pictures["plastic/trace"] = heat_map(trace.shares(episode.n_steps - 1))
    return pictures
