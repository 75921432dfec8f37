"""What happens beside a training run: checkpoints, Ctrl-C, the progress bar."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback


class RunCheckpoints(BaseCallback):
    """Calls ``save`` between updates: every so many, on Ctrl-C, and at the end.

    The first Ctrl-C lets the update in progress finish, saves, and raises ``KeyboardInterrupt``;
    a second one interrupts at once.

    Args:
        save: writes the checkpoint.
        every: updates between two checkpoints.
    """

    def __init__(self, save: Callable[[], None], every: int) -> None:
        super().__init__()
        self.save = save
        self.every = every
        self.interrupted = False
        self._updates_saved = 0
        self._handler: Any = signal.getsignal(signal.SIGINT)

    def _on_training_start(self) -> None:
        self._updates_saved = self.model._n_updates
        signal.signal(signal.SIGINT, self._on_interrupt)

    def _on_interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        self.interrupted = True
        signal.signal(signal.SIGINT, self._handler)

    def _on_rollout_start(self) -> None:
        # Here, between one update and the next rollout, the run is in one piece.
        updates = self.model._n_updates
        if self.interrupted or updates - self._updates_saved >= self.every:
            self.save()
            self._updates_saved = updates
        if self.interrupted:
            raise KeyboardInterrupt

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self.save()

    def close(self) -> None:
        """Leave Ctrl-C to who had it before."""
        signal.signal(signal.SIGINT, self._handler)


class ProgressCallback(BaseCallback):
    """A progress bar with the mean reward of the last episodes; without a terminal, ten lines.

    Args:
        total_timesteps: where the bar ends.
    """

    def __init__(self, total_timesteps: int) -> None:
        super().__init__()
        self.console = Console(stderr=True)
        self.tenths = 0
        self.progress = Progress(
            TextColumn("{task.fields[doing]}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} steps"),
            TextColumn("reward {task.fields[reward]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.total_timesteps = total_timesteps
        self.task = self.progress.add_task(
            "", total=total_timesteps, reward="-", doing="starting (compiles, the first time)"
        )

    def _on_training_start(self) -> None:
        self.progress.start()

    def _on_rollout_start(self) -> None:
        episodes = self.model.ep_info_buffer or ()
        reward = f"{np.mean([episode['r'] for episode in episodes]):.1f}" if episodes else "-"
        steps = self.model.num_timesteps
        if self.model._n_updates:
            self.progress.update(self.task, completed=steps, reward=reward, doing="training")
        tenths = 10 * steps // self.total_timesteps
        if not self.console.is_terminal and tenths > self.tenths:
            self.console.print(f"{tenths}0 %: {steps:,} steps, reward {reward}", highlight=False)
        self.tenths = tenths

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._on_rollout_start()
        self.close()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.progress.stop()
