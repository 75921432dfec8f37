"""The notice that loops are being compiled: without it a program would be silent for seconds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numba.core.event import Event, Listener, install_listener

COMPILING = "compiling loops (first run only) ..."


@contextmanager
def notify_compilation(notify: Callable[[str], None]) -> Iterator[None]:
    """A context in which ``notify`` is called once, before numba first compiles a function.

    Functions that numba finds in its cache on disk are not compiled again.
    """
    with install_listener("numba:compile", _FirstCompilation(notify)):
        yield


class _FirstCompilation(Listener):
    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify, self._notified = notify, False

    def on_start(self, event: Event) -> None:
        if not self._notified:
            self._notified = True
            self._notify(COMPILING)

    def on_end(self, event: Event) -> None:
        pass
