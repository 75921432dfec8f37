"""``train_supervised.py``, end to end on the smallest sizes, and what it says of bad input."""

import json
from pathlib import Path

import pytest

from plasticrl.runs import RunDirectory
from plasticrl.tasks.command_line import evaluate_main, is_task, train_main
from plasticrl.tasks.config import KIND
from plasticrl.tasks.presets import PRESETS

SMALL = [
    *("--n-updates", "3", "--batch-size", "2", "--evaluation-episodes", "7"),
]


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_trains_and_writes_what_it_measured(preset: str, tmp_path: Path) -> None:
    """Otherwise a preset of the table does not run."""
    sizes = ["--n-bits", "6"] if preset.startswith("patterns") else []
    if preset == "patterns-comparison":
        sizes += ["--rnn-control", "9", "--lstm-control", "8"]
    run = tmp_path / "run"
    assert train_main([preset, *SMALL, *sizes, "--run-dir", str(run)]) == 0
    record = json.loads((run / "evaluation.json").read_text())
    assert record["task"] == PRESETS[preset]().task
    assert record["preset"] == preset
    assert record["data"].keys() == {"name", "version", "sha256", "split"}
    assert len(record["controls"]) >= 1
    for one in (record, *record["controls"]):
        assert one["episodes"] == 7
        assert one["train_episodes"] == (6 if one["parameters"] else 0)
        assert one["ci95"][0] <= one["value"] <= one["ci95"][1]
        assert (one["seconds"] > 0) == (one["parameters"] > 0)
    assert RunDirectory.open(run).kind == "supervised"
    assert (run / "metrics.jsonl").read_text().count("train/loss") >= 3


def test_the_seed_decides(tmp_path: Path) -> None:
    """Otherwise a result cannot be repeated."""
    values = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        arguments = ["bohp-completion-paper", *SMALL, "--seed", seed, "--no-controls"]
        assert train_main([*arguments, "--run-dir", str(tmp_path / name)]) == 0
        values.append(json.loads((tmp_path / name / "evaluation.json").read_text())["value"])
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--n-updates", "0"], "n_updates must be at least 1, not 0"),
        (["--learning-rate", "nan"], "learning_rate must be a finite number above 0, not nan"),
        (["--device", "tpu"], "device must be cpu, cuda or cuda:N, not 'tpu'"),
        (["--seed", "-1"], "seed must be from 0"),
        (["--n-bits", "1"], "n_bits must be at least 2, not 1"),
    ],
)
def test_a_bad_value_gets_one_line(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Otherwise the user reads a traceback."""
    folder = tmp_path / "run"
    assert train_main(["patterns-quickstart", *flags, "--run-dir", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not folder.exists()


def test_a_run_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise a measured run is lost."""
    (tmp_path / "notes.txt").write_text("mine")
    assert train_main(["bohp-completion-paper", *SMALL, "--run-dir", str(tmp_path)]) == 2
    assert "already holds something" in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_evaluate_prints_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a result has to be read out of a file by hand."""
    run = tmp_path / "run"
    train_main(["bohp-completion-paper", *SMALL, "--run-dir", str(run)])
    capsys.readouterr()
    assert is_task([str(run), "--json"])
    assert evaluate_main([str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((run / "evaluation.json").read_text())
    assert evaluate_main([str(run)]) == 0
    assert "non-plastic" in capsys.readouterr().out


def test_a_run_that_did_not_end_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the user sees a missing file."""
    run = RunDirectory.create(tmp_path / "run", kind=KIND, preset="x", config={})
    assert evaluate_main([str(run.path)]) == 2
    assert "has no evaluation.json yet" in capsys.readouterr().err


def test_other_runs_are_left_to_the_agents(tmp_path: Path) -> None:
    """Otherwise an agent cannot be evaluated any more."""
    run = RunDirectory.create(tmp_path / "run", kind="rl", preset="x", config={})
    assert not is_task([str(run.path), "--json"])
    assert not is_task([str(tmp_path / "missing")])
    assert not is_task(["--help"])
