"""Ctrl-C during a training."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from plasticrl.runs.interrupts import StopSignals


@pytest.fixture(autouse=True)
def ctrl_c_counts() -> Iterator[None]:
    """Handle Ctrl-C, which background jobs of a shell without job control ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_ctrl_c_is_recorded_and_answered() -> None:
    """Otherwise the user presses again during a long update, and loses it."""
    messages: list[str] = []
    with StopSignals(messages.append) as ctrl_c:
        assert not ctrl_c.received
        signal.raise_signal(signal.SIGINT)
        assert ctrl_c.received
        assert messages[0].startswith("stopping after this update; Ctrl-C again stops")
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_and_those_that_are_ignored(number: signal.Signals) -> None:
    """Otherwise a scheduler ends a run without saving, or a run under ``nohup`` stops."""
    with StopSignals(print) as signals:
        signal.raise_signal(number)
        assert signals.received
        assert signal.getsignal(number) is signal.SIG_DFL
    before = signal.signal(number, signal.SIG_IGN)
    with StopSignals(print) as signals:
        signal.raise_signal(number)
        assert not signals.received
    signal.signal(number, before)


def test_a_failing_message_does_not_interrupt() -> None:
    """Otherwise an error of the message, as when a pipe's reader has ended, prevents saving."""
    reader, writer = os.pipe()
    os.close(reader)
    pipe = os.fdopen(writer, "w")

    def notify(message: str) -> None:
        print(message, file=pipe, flush=True)

    with StopSignals(notify) as ctrl_c:
        signal.raise_signal(signal.SIGINT)
        assert ctrl_c.received
    with pytest.raises(BrokenPipeError):  # what was said is still in its buffer
        pipe.close()


def test_a_training_in_a_thread_ignores_ctrl_c() -> None:
    """Otherwise a training in a thread ends with Python's ValueError about signals."""
    seen: list[object] = []
    handler = signal.getsignal(signal.SIGINT)

    def trains() -> None:
        try:
            with StopSignals(print) as ctrl_c:
                seen.append((ctrl_c.received, signal.getsignal(signal.SIGINT) is handler))
        except ValueError as error:
            seen.append(error)

    thread = threading.Thread(target=trains)
    thread.start()
    thread.join()
    assert seen == [(False, True)]
    assert signal.getsignal(signal.SIGINT) is handler
