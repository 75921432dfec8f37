"""Ctrl-C between two updates, where a run is in one piece."""

import signal
import sys
import threading
from contextlib import suppress
from types import FrameType, TracebackType


class CtrlC:
    """A context in which the first Ctrl-C is only noted; a second one interrupts at once.

    In another thread than the main one, which alone hears of Ctrl-C, it does nothing.
    """

    pressed = False

    def __enter__(self) -> "CtrlC":
        self._here = threading.current_thread() is threading.main_thread()
        if self._here:
            self._handler = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self.pressed = True
        signal.signal(signal.SIGINT, self._handler)
        # At once: an update can take long, and the first one waits for its loops to be compiled.
        # What cannot be said (Ctrl-C has ended the reader of a pipe, too, or has come amid another
        # message) must not cost the checkpoint.
        with suppress(OSError, RuntimeError, ValueError):
            said = "stopping after this update; Ctrl-C again stops at once, without saving"
            print(said, file=sys.stderr, flush=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._here:
            signal.signal(signal.SIGINT, self._handler)
