"""The progress of a training in words, tested with an artificial clock."""

import io
from collections.abc import Callable
from functools import partial

import pytest
from rich.console import Console
from rich.progress import Progress

from plasticrl.commands import progress
from plasticrl.commands.progress import Lines, ProgressBar, Timing, clock


class Clock:
    """A clock that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def due_at(lines: Lines, moved: Clock, seconds: float, work: Callable[[int], int]) -> list[int]:
    """The seconds at which a line is printed, if asked every second."""
    start, found = moved.now, []
    for second in range(1, int(seconds) + 1):
        moved.now = start + second
        if lines.due(work(second)):
            found.append(second)
    return found


def test_a_long_run_prints_a_line_every_half_minute() -> None:
    """Otherwise nothing is printed for a tenth of a long training."""
    moved = Clock()
    lines = Lines(total=10**9, clock=moved)
    assert due_at(lines, moved, 100, lambda second: second) == [30, 60, 90]


def test_a_short_run_prints_a_line_at_every_tenth() -> None:
    """Otherwise a short training prints nothing, or a resumed one begins with a line."""
    moved = Clock()
    lines = Lines(total=20, done=7, clock=moved)
    assert due_at(lines, moved, 13, lambda second: 7 + second) == [1, 3, 5, 7, 9, 11, 13]


def test_every_line_restarts_the_half_minute() -> None:
    """Otherwise two lines follow each other at once."""
    moved = Clock()
    lines = Lines(total=10, clock=moved)
    assert due_at(lines, moved, 60, lambda second: int(second >= 20)) == [20, 50]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "-:--"), (0, "0:00"), (12.9, "0:12"), (80, "1:20"), (3599, "59:59"), (7384, "2:03:04")],
)
def test_clock(seconds: float | None, said: str) -> None:
    """For example, 80 seconds are 1:20."""
    assert clock(seconds) == said


@pytest.mark.parametrize("width", [40, 80])
def test_the_words_follow_their_numbers(width: int) -> None:
    """Otherwise it is unclear which time is left, or the line breaks in a narrow terminal."""
    moved = Clock()
    console = Console(file=io.StringIO(), width=width)
    bar = Progress(Timing(), console=console, get_time=moved)
    task = bar.add_task("", total=100)
    bar.update(task, completed=0)
    moved.now += 12
    bar.update(task, completed=10)
    moved.now += 12
    bar.update(task, completed=20)  # 12 seconds for 10 of 100, 80 to come
    with console.capture() as capture:
        console.print(bar.get_renderable())
    assert capture.get().strip() == "0:24 elapsed, 1:36 left"


def test_without_a_terminal_lines_come_by_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a training of days seems to hang."""
    moved = Clock()
    monkeypatch.setattr(progress.time, "monotonic", moved)
    monkeypatch.setattr(progress, "Lines", partial(Lines, clock=moved))
    bar = ProgressBar()
    bar.start("plastic", "updates", 0, 1_000_000)
    for second in range(1, 71):
        moved.now = 1000.0 + second
        bar.update(second, "loss 0.5")
    bar.stop()
    assert capsys.readouterr().err.splitlines() == [
        "plastic, 0 %: 30 of 1,000,000 updates, loss 0.5, 0:30 elapsed",
        "plastic, 0 %: 60 of 1,000,000 updates, loss 0.5, 1:00 elapsed",
    ]


def test_a_run_that_goes_on_is_training_after_its_first_update() -> None:
    """Otherwise the bar says so during compilation, or its speed includes old steps."""
    bar = ProgressBar()
    bar.start("", "steps", 500, 1000)
    (task,) = bar._bar.tasks
    bar.update(500, "reward -")
    assert (task.description, task.completed, task.speed) == ("starting", 500, None)
    bar.update(600, "reward 2.0")
    assert (task.description, task.completed) == ("training", 600)
    bar.stop()
