"""A message while Numba compiles loops, which takes several seconds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numba.core.event import Event, Listener, install_listener

COMPILING = "compiling loops (first run only) ..."


@contextmanager
def notify_compilation(notify: Callable[[str], None]) -> Iterator[None]:
    """A context in which ``notify`` is called once, before Numba first compiles a function.

    It is not called if all functions are in Numba's cache on disk.
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
