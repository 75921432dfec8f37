"""Signals that end a training after the current update, with a checkpoint."""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

STOPPING = "stopping after this update; Ctrl-C again stops at once, without saving"
STOPPED_BY = "stopping after this update, because of {}; a second one stops at once, without saving"
"""The message for a signal other than Ctrl-C."""
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
"""Ctrl-C; a request of the system or a scheduler to end; the terminal was closed."""


class StopSignals:
    """A context in which the first signal only sets ``received``; a second has its usual effect.

    A signal that the program ignores from its start, as under ``nohup``, is still ignored. Python
    delivers signals to the main thread only; in any other thread this context does nothing.

    Args:
        notify: called with a sentence for the user when a signal comes.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        self.received = False
        self._notify = notify
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.received = True
        self._restore()
        # The message is printed at once, because an update can take long. An error of printing is
        # ignored, so that the checkpoint is saved: Ctrl-C also ends the process that reads our
        # output through a pipe, and may interrupt the printing of another message.
        with suppress(OSError, RuntimeError, ValueError):
            is_key = number == signal.SIGINT
            self._notify(STOPPING if is_key else STOPPED_BY.format(signal.Signals(number).name))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
