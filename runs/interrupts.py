"""Ctrl-C during a training: the update in progress is finished and saved first."""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType

STOPPING = "stopping after this update; Ctrl-C again stops at once, without saving"


class CtrlC:
    """A context in which the first Ctrl-C only sets ``pressed``; a second interrupts at once.

    Python delivers Ctrl-C to the main thread only; in any other thread this context does nothing.

    Args:
        notify: called with a sentence for the user when Ctrl-C is pressed.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        self.pressed = False
        self._notify = notify

    def __enter__(self) -> "CtrlC":
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        if self._in_main_thread:
            self._previous_handler = signal.signal(signal.SIGINT, self._handle)
        return self

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        self.pressed = True
        signal.signal(signal.SIGINT, self._previous_handler)
        # The message is printed at once, because an update can take long. Printing may fail: Ctrl-C
        # also ends the reader of a pipe, and it can interrupt the printing of another message. The
        # checkpoint must be saved even then.
        with suppress(OSError, RuntimeError, ValueError):
            self._notify(STOPPING)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._in_main_thread:
            signal.signal(signal.SIGINT, self._previous_handler)
