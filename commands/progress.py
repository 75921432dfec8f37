"""Shows the progress of a training: a bar in a terminal, otherwise lines."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from plasticrl.commands.program import say

LINE_EVERY = 30.0
"""Seconds after which another line is printed."""


class ProgressBar:
    """Shows a training on stderr; see ``plasticrl.runs.Progress``.

    Args:
        worded: changes the wording of a message before it is printed.
    """

    def __init__(self, worded: Callable[[str], str] = str) -> None:
        self._console, self._worded = Console(stderr=True), worded

    def start(self, label: str, unit: str, done: int, total: int) -> None:
        self._label, self._unit, self._total = label, unit, total
        self._lines, self._started = Lines(total, done), time.monotonic()
        self._done_before = done
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + unit),
            TextColumn("{task.fields[figure]}"),
            Timing(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=total, completed=done, figure="")
        self._bar.start()

    def update(self, done: int, figure: str) -> None:
        if done > self._done_before:
            label = self._label or "training"
            self._bar.update(self._task, completed=done, figure=figure, description=label)
        if not self._console.is_terminal and self._lines.due(done):
            name = f"{self._label}, " if self._label else ""
            seconds = time.monotonic() - self._started
            percent = min(100, 100 * done // self._total)
            self.notify(
                f"{name}{percent} %: {done:,} of {self._total:,} {self._unit}, "
                f"{figure}, {clock(seconds)} elapsed"
            )

    def notify(self, message: str) -> None:
        say(self._worded(message))

    def stop(self) -> None:
        self._bar.stop()


class Timing(ProgressColumn):
    """The last column of a bar: ``0:12 elapsed, 1:20 left``."""

    max_refresh = 0.5  # seconds; a faster update of the time left would flicker

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        return Text(f"{clock(task.elapsed)} elapsed, {clock(task.time_remaining)} left")


def clock(seconds: float | None) -> str:
    """Seconds as M:SS or H:MM:SS; None is an unknown time."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Lines:
    """Decides when to print a line of progress: at every tenth of the work and every 30 seconds.

    Args:
        total: the amount of work.
        done: the amount of work that was done before, if a run is resumed.
        clock: returns the time in seconds.
    """

    def __init__(
        self, total: int, done: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._clock = total, clock
        self._tenths, self._printed = 10 * done // total, clock()

    def due(self, done: int) -> bool:
        """Whether to print a line now. A line for which this returns True counts as printed."""
        tenths, now = 10 * done // self._total, self._clock()
        if tenths == self._tenths and now - self._printed < LINE_EVERY:
            return False
        self._tenths, self._printed = tenths, now
        return True
