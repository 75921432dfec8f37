"""Signals that end a training: the update in progress is finished and saved first."""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

STOPPING = "stopping after this update; Ctrl-C again stops at once, without saving"
STOPPED_BY = "stopping after this update, because of {}; a second one stops at once, without saving"
"""Said for a signal other than Ctrl-C."""
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
"""Ctrl-C, the request of a system or a scheduler to end, and the end of the terminal."""


class StopSignals:
    """A context in which the first signal only sets ``received``; a second has its usual effect.

    A signal that the program was started to ignore, as by ``nohup``, is ignored further. Python
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
        # The message is printed at once, because an update can take long. Printing may fail: Ctrl-C
        # also ends the reader of a pipe, and it can interrupt the printing of another message. The
        # checkpoint must be saved even then.
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
