"""Ctrl-C around a training."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from plasticrl.runs.interrupts import CtrlC


@pytest.fixture(autouse=True)
def ctrl_c_counts() -> Iterator[None]:
    """A background job of a shell without job control starts with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_one_is_noted_and_told() -> None:
    """The user would press again, in a long update, and lose it."""
    messages: list[str] = []
    with CtrlC(messages.append) as ctrl_c:
        assert not ctrl_c.pressed
        signal.raise_signal(signal.SIGINT)
        assert ctrl_c.pressed
        assert messages[0].startswith("stopping after this update; Ctrl-C again stops")
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_what_cannot_be_told_costs_nothing() -> None:
    """Ctrl-C ends the reader of a pipe, too: an error would fly through the training, unsaved."""
    reader, writer = os.pipe()
    os.close(reader)
    pipe = os.fdopen(writer, "w")

    def notify(message: str) -> None:
        print(message, file=pipe, flush=True)

    with CtrlC(notify) as ctrl_c:
        signal.raise_signal(signal.SIGINT)
        assert ctrl_c.pressed
    with pytest.raises(BrokenPipeError):  # what was said is still in its buffer
        pipe.close()


def test_a_thread_trains_without() -> None:
    """A program that trains in a thread would end in Python's ValueError about signals."""
    seen: list[object] = []
    handler = signal.getsignal(signal.SIGINT)

    def trains() -> None:
        try:
            with CtrlC(print) as ctrl_c:
                seen.append((ctrl_c.pressed, signal.getsignal(signal.SIGINT) is handler))
        except ValueError as error:
            seen.append(error)

    thread = threading.Thread(target=trains)
    thread.start()
    thread.join()
    assert seen == [(False, True)]
    assert signal.getsignal(signal.SIGINT) is handler
