"""What is said of a training while it runs."""

from functools import partial

import pytest
from numba import njit

from plasticrl.runs import Lines
from plasticrl.tasks import fitting


def test_without_a_terminal_lines_come_by_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a training of days looks as if it hung."""
    now = [0.0]
    monkeypatch.setattr(fitting, "Lines", partial(Lines, clock=lambda: now[0]))
    with fitting.progress("plastic", 1_000_000, 0) as advance:
        for second in range(1, 71):
            now[0] = float(second)
            advance(0.5)
    told = [line.partition(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == ["plastic: 30 of 1", "plastic: 60 of 1"]


def test_compilation_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the first update is seconds of silence."""
    with fitting.progress("plastic", 10, 0) as advance:
        njit(lambda x: x + 1)(1)
        assert capsys.readouterr().err == "plastic: compiling loops (first run only) ...\n"
        advance(0.5)
