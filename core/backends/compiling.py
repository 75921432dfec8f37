"""Hearing of compilation: a program that has just started would be silent for seconds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numba.core.event import Event, Listener, install_listener


@contextmanager
def compilation_told(tell: Callable[[], None]) -> Iterator[None]:
    """A context in which ``tell`` is called before loops for the CPU are compiled, the first time.

    Loops that an earlier program has compiled and kept on disk are not compiled again.
    """
    with install_listener("numba:compile", _First(tell)):
        yield


class _First(Listener):
    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell, self._told = tell, False

    def on_start(self, event: Event) -> None:
        if not self._told:
            self._told = True
            self._tell()

    def on_end(self, event: Event) -> None:
        pass
