"""Logged metrics are read, lines cut off by a crash are dropped, and damage is reported."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from plasticrl.runs import MetricsLog, RunError, read_metrics


def test_rows_come_back_in_order(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append(10, {"loss": 0.1, "reward": np.float32(0.5)})
    log.append(20, {"loss": math.nan, "reward": -math.inf})
    assert read_metrics(log.path) == [
        {"step": 10, "loss": 0.1, "reward": 0.5},
        {"step": 20, "loss": None, "reward": None},
    ]


def test_every_line_is_strict_json(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append(1, {"loss": math.nan})
    assert json.loads(log.path.read_text(), parse_constant=pytest.fail) == {"step": 1, "loss": None}


def test_a_metric_cannot_hide_the_step(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be named 'step'"):
        MetricsLog(tmp_path / "metrics.jsonl").append(1, {"step": 2.0})


def test_a_cut_off_last_line_is_left_out(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append(1, {"loss": 1.0})
    log.append(2, {"loss": 2.0})
    whole = log.path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole)):
        log.path.write_bytes(whole[:length])
        assert [row["step"] for row in read_metrics(log.path)] == [1]


def test_rewind_drops_later_rows_and_the_cut_off_line(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in (10, 20, 30):
        log.append(step, {"loss": 1.0})
    with log.path.open("a") as file:
        file.write('{"step": 40, "lo')
    log.rewind(20)
    log.append(25, {"loss": 2.0})
    assert [row["step"] for row in read_metrics(log.path)] == [10, 20, 25]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_rewind_of_some_metrics_leaves_the_others(tmp_path: Path) -> None:
    """Otherwise the curves of nets whose training is complete are cut off."""
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in (10, 20):
        log.append(step, {"loss": 1.0})
    for step in (10, 20):
        log.append(step, {"LSTM/loss": 2.0})
    log.rewind(10, "LSTM/")
    assert read_metrics(log.path) == [
        {"step": 10, "loss": 1.0},
        {"step": 20, "loss": 1.0},
        {"step": 10, "LSTM/loss": 2.0},
    ]


def test_rewind_before_the_first_row_was_written(tmp_path: Path) -> None:
    MetricsLog(tmp_path / "metrics.jsonl").rewind(10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"step": 1', "line 2 is not valid JSON"),
        ("", "line 2 is not valid JSON"),
        ("[1]", 'line 2 must be an object with an integer "step"'),
        ('{"step": 1.5}', 'line 2 must be an object with an integer "step"'),
    ],
)
def test_damage_in_the_middle_is_named_and_nothing_is_dropped(
    tmp_path: Path, line: str, message: str
) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.path.write_text('{"step": 0}\n' + line + '\n{"step": 9}\n')
    before = log.path.read_bytes()
    with pytest.raises(RunError, match=message):
        log.rewind(5)
    assert log.path.read_bytes() == before


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot read .*none\.jsonl"):
        read_metrics(tmp_path / "none.jsonl")
    with pytest.raises(RunError, match="cannot write"):
        MetricsLog(tmp_path / "none" / "metrics.jsonl").append(1, {})
