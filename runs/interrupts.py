"""Ctrl-C between two updates, where a run is in one piece."""

import signal
from types import FrameType, TracebackType


class CtrlC:
    """A context in which the first Ctrl-C is only noted; a second one interrupts at once."""

    pressed = False

    def __enter__(self) -> "CtrlC":
        self._handler = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self.pressed = True
        signal.signal(signal.SIGINT, self._handler)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._handler)
