"""A training session shows progress, handles Ctrl-C and decides when to save checkpoints.

Agents and supervised tasks call it between two updates. The caller that makes the session chooses
how progress is shown; the command line draws a bar.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from plasticrl.runs.compiling import notify_compilation
from plasticrl.runs.interrupts import StopSignals


class Progress(Protocol):
    """Shows how far a training has come."""

    def start(self, label: str, unit: str, done: int, total: int) -> None:
        """Begin at ``done`` of ``total`` units. The label names the net and may be empty."""

    def update(self, done: int, figure: str) -> None:
        """Show that ``done`` units are done, and a measure of the net, such as ``reward 13.2``."""

    def notify(self, message: str) -> None:
        """Show a sentence."""

    def stop(self) -> None:
        """Stop showing progress, because the training has ended or was interrupted."""


class NoProgress:
    """Shows nothing."""

    def start(self, label: str, unit: str, done: int, total: int) -> None:
        """Show nothing."""

    def update(self, done: int, figure: str) -> None:
        """Show nothing."""

    def notify(self, message: str) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Show nothing."""


class TrainingSession:
    """Shows the progress of a training, handles Ctrl-C and decides when to save.

    Args:
        progress: shows how far the training has come; by default nothing is shown.
        agree: for a training of several processes, which must stop at the same update. It is called
            between two updates with whether this process was told to stop, and returns whether any
            process was.
    """

    def __init__(
        self, progress: Progress | None = None, agree: Callable[[bool], bool] = bool
    ) -> None:
        self.progress = progress or NoProgress()
        self._agree = agree

    @contextmanager
    def training(
        self,
        save: Callable[[], None],
        *,
        label: str = "",
        unit: str,
        done: int,
        total: int,
        every_updates: int | None = None,
        every_seconds: float | None = None,
    ) -> Iterator[None]:
        """A context around the training of one net.

        Args:
            save: writes a checkpoint.
            label: the name of the net; "" if there is only one.
            unit: the unit of ``done`` and ``total``, for example "steps".
            done: the number of units that were done before, if a run is resumed.
            total: the number of units at which the training ends.
            every_updates: number of updates from one checkpoint to the next.
            every_seconds: number of seconds from one checkpoint to the next.
        """
        self._save = save
        self._every_updates, self._every_seconds = every_updates, every_seconds
        self._updates_saved: int | None = None
        self._time_saved = time.monotonic()
        notify = self.progress.notify
        with StopSignals(notify) as self._signals, notify_compilation(notify):
            self.progress.start(label, unit, done, total)
            try:
                yield
            finally:
                self.progress.stop()

    def between_updates(self, n_updates: int, done: int, figure: str, ended: bool = False) -> None:
        """Show progress, and save if a checkpoint is due.

        Args:
            n_updates: updates made so far.
            done: units done so far.
            figure: a measure of the net, as text.
            ended: whether the training has ended; a checkpoint is then always saved.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed before the training ended. A checkpoint has been
                saved.
        """
        self.progress.update(done, figure)
        if self._updates_saved is None:
            self._updates_saved = n_updates
        stop = self._agree(self._signals.received)
        if ended or stop or self._is_due(n_updates):
            self._save()
            self._updates_saved, self._time_saved = n_updates, time.monotonic()
        if stop and not ended:
            raise KeyboardInterrupt

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C was pressed during the training."""
        return self._signals.received

    def _is_due(self, n_updates: int) -> bool:
        assert self._updates_saved is not None
        updates, seconds = n_updates - self._updates_saved, time.monotonic() - self._time_saved
        by_updates = self._every_updates is not None and updates >= self._every_updates
        return by_updates or (self._every_seconds is not None and seconds >= self._every_seconds)
