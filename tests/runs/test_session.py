"""When a training session saves, what it shows, and how it ends."""

import signal
from collections.abc import Iterator

import pytest
from numba import njit

from plasticrl.runs import TrainingSession
from plasticrl.runs.compiling import COMPILING


class RecordedProgress:
    """Stores its calls."""

    def __init__(self) -> None:
        self.updates: list[tuple[int, str]] = []
        self.messages: list[str] = []
        self.open = False

    def start(self, label: str, unit: str, done: int, total: int) -> None:
        self.open = True

    def update(self, done: int, figure: str) -> None:
        self.updates.append((done, figure))

    def notify(self, message: str) -> None:
        self.messages.append(message)

    def stop(self) -> None:
        self.open = False


@pytest.fixture(autouse=True)
def ctrl_c_counts() -> Iterator[None]:
    """Handle Ctrl-C, which background jobs of a shell without job control ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_it_saves_every_so_many_updates_and_at_the_end() -> None:
    """Otherwise an interrupted run loses more work than configured, or its last updates."""
    saved: list[int] = []
    n_updates = 3
    session = TrainingSession()
    with session.training(
        lambda: saved.append(n_updates), unit="steps", done=30, total=100, every_updates=2
    ):
        for n_updates in range(3, 9):
            session.between_updates(n_updates, 10 * n_updates, "")
        session.between_updates(n_updates, 80, "", ended=True)
    assert saved == [5, 7, 8]


def test_progress_is_shown_and_stopped_also_by_an_error() -> None:
    """Otherwise the progress bar stays below an error message."""
    heard = RecordedProgress()
    session = TrainingSession(heard)

    def train() -> None:
        with session.training(lambda: None, unit="steps", done=0, total=9):
            assert heard.open
            session.between_updates(1, 3, "reward 2.0")
            raise FloatingPointError

    with pytest.raises(FloatingPointError):
        train()
    assert not heard.open
    assert heard.updates == [(3, "reward 2.0")]


def test_ctrl_c_saves_and_interrupts_between_two_updates() -> None:
    """Otherwise the update in progress is lost, or the training continues."""
    heard, saved = RecordedProgress(), list[int]()
    session = TrainingSession(heard)
    with session.training(lambda: saved.append(1), unit="updates", done=0, total=9):
        session.between_updates(1, 1, "")
        signal.raise_signal(signal.SIGINT)
        assert saved == []
        assert heard.messages[0].startswith("stopping after this update; Ctrl-C again stops")
        with pytest.raises(KeyboardInterrupt):
            session.between_updates(2, 2, "")
    assert saved == [1]


def test_compilation_is_reported_at_once() -> None:
    """Otherwise nothing is shown for the seconds of the first update."""
    heard = RecordedProgress()
    with TrainingSession(heard).training(lambda: None, unit="updates", done=0, total=9):
        njit(lambda x: x + 1)(1)
        assert heard.messages == [COMPILING]


def test_ctrl_c_in_the_last_update_completes_the_training() -> None:
    """Otherwise a complete training counts as interrupted."""
    saved: list[int] = []
    session = TrainingSession()
    with session.training(lambda: saved.append(1), unit="updates", done=0, total=1):
        signal.raise_signal(signal.SIGINT)
        session.between_updates(1, 1, "", ended=True)
        assert session.interrupted
    assert saved == [1]
