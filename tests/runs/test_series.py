"""Reading one metric gives all of its values, or a one-sentence error for an invalid file."""

import json
from pathlib import Path

import pytest

from plasticrl.runs import MetricsLog, RunError, read_series

NAN = float("nan")


@pytest.fixture
def log(tmp_path: Path) -> MetricsLog:
    return MetricsLog(tmp_path / "metrics.jsonl")


def test_steps_and_values(log: MetricsLog) -> None:
    """Otherwise a curve has wrong values, for example one for a line without the metric."""
    log.append(10, {"train/loss": 3.0})
    log.append(20, {"train/rate": 1.0})
    log.append(40, {"train/loss": 1, "train/rate": 0.5})
    (series,) = read_series(log.path, "train/loss").values()
    assert series.steps.tolist() == [10, 40]
    assert series.values.tolist() == [3.0, 1.0]
    assert series.n_left_out == 0


def test_what_is_not_finite_is_left_out_and_counted(log: MetricsLog) -> None:
    """Otherwise a NaN makes the whole average NaN, or is dropped without notice."""
    for step, value in enumerate((NAN, 2.0, float("inf"), 4.0)):
        log.append(step, {"a/b": value})
    with log.path.open("a") as file:
        file.write('{"step": 9, "a/b": NaN}\n{"step": 10, "a/b": 1' + 400 * "0" + "}\n")
    series = read_series(log.path, "a/b")[""]
    assert (series.steps.tolist(), series.values.tolist()) == ([1, 3], [2.0, 4.0])
    assert series.n_left_out == 4


def test_the_controls_of_a_supervised_run(log: MetricsLog) -> None:
    """Otherwise nets that were trained one after the other are merged or lost."""
    log.append(10, {"train/loss": 1.0, "train/grad_norm": 5.0})
    log.append(5, {"non-plastic, bigger/train/loss": 2.0})
    series = read_series(log.path, "train/loss")
    assert {net: one.values.tolist() for net, one in series.items()} == {
        "": [1.0],
        "non-plastic, bigger": [2.0],
    }
    with pytest.raises(RunError, match=r"has no metric 'loss'; it has train/loss, train/grad_norm"):
        read_series(log.path, "loss")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "metrics.jsonl is empty: its training has written nothing yet"),
        ([{"step": 1}], "has no metric 'a/b'; it has none"),
        ([{"step": 1, "c": 2.0}], "has no metric 'a/b'; it has c"),
        ([{"step": 1, "a/b": None}], "metric a/b has no finite value"),
        ([{"step": 1, "a/b": "high"}], "metric a/b has the value 'high', which is not a number"),
        ([{"step": 1, "a/b": True}], "metric a/b has the value True, which is not a number"),
        ([{"step": 7, "a/b": 1}, {"step": 7, "a/b": 2}], "step 7 comes after step 7"),
        ([{"step": 7, "a/b": 1}, {"step": 3, "a/b": 2}], "step 3 comes after step 7"),
        ([{"step": -1, "a/b": 1}], "a step is negative"),
        ([{"step": 2**70, "a/b": 1}], "too large for 64 bits"),
    ],
)
def test_damage_is_named(rows: list[dict[str, object]], sentence: str, tmp_path: Path) -> None:
    """Otherwise a foreign or damaged file gives a traceback or a wrong curve."""
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RunError, match=sentence) as error:
        read_series(path, "a/b")
    assert str(path) in str(error.value)
