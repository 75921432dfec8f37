"""How far long work has come: the end of a bar in a terminal, elsewhere a line now and then."""

import time
from collections.abc import Callable

from rich.progress import ProgressColumn, Task
from rich.table import Column
from rich.text import Text

COMPILING = "compiling loops (first run only) ..."
LINE_EVERY = 30.0
"""Seconds after which a line is due."""


class Timing(ProgressColumn):
    """The end of a bar: ``0:12 elapsed, 1:20 left``."""

    max_refresh = 0.5  # seconds: what is left would flicker

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        return Text(f"{clock(task.elapsed)} elapsed, {clock(task.time_remaining)} left")


def clock(seconds: float | None) -> str:
    """Minutes and seconds, after an hour with hours; None is not known yet."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Lines:
    """When to print a line of progress: with every tenth of the work, and every 30 seconds.

    Args:
        total: the work.
        done: how much of it was done before.
        clock: seconds.
    """

    def __init__(
        self, total: int, done: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._clock = total, clock
        self._tenths, self._printed = 10 * done // total, clock()

    def due(self, done: int) -> bool:
        """Whether to print one now, with so much done; it is taken for printed then."""
        tenths, now = 10 * done // self._total, self._clock()
        if tenths == self._tenths and now - self._printed < LINE_EVERY:
            return False
        self._tenths, self._printed = tenths, now
        return True
