"""Run directories are written completely, read strictly and never overwritten."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plasticrl.runs import RunDirectory, RunError, atomic_write

CONFIG = {"n_envs": 8, "core": {"name": "plastic_rnn", "clip": 1.0}, "cues": [2, 3]}


def create(path: Path, **changes: Any) -> RunDirectory:
    arguments = {"kind": "rl", "preset": "maze-quickstart", "config": CONFIG, **changes}
    return RunDirectory.create(path, **arguments)


def test_what_was_created_is_what_opens(tmp_path: Path) -> None:
    created = create(tmp_path / "deep" / "run", versions={"gymnasium": "1.2"})
    opened = RunDirectory.open(str(tmp_path / "deep" / "run"))
    assert opened == created
    assert (opened.kind, opened.preset, opened.config) == ("rl", "maze-quickstart", CONFIG)
    assert opened.versions.keys() == {"plasticrl", "torch", "numpy", "python", "gymnasium"}
    assert opened.metrics_path == opened.path / "metrics.jsonl"
    assert opened.tensorboard_path == opened.path / "tensorboard"
    assert opened.checkpoints_path == opened.path / "checkpoints"


def test_an_empty_folder_will_do_and_an_occupied_one_is_left_alone(tmp_path: Path) -> None:
    create(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(RunError, match="is not empty: choose another folder"):
        create(tmp_path, preset="other")
    assert (tmp_path / "config.json").read_bytes() == before


@pytest.mark.parametrize("path", ["file", "file/run"])
def test_a_file_in_the_way(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="cannot start a run in"):
        create(tmp_path / path)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("value", [math.nan, {1, 2}])
def test_a_config_that_json_cannot_hold(tmp_path: Path, value: object) -> None:
    with pytest.raises(RunError, match=r"cannot write .*config\.json"):
        create(tmp_path / "run", config={"value": value})


def test_open_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"run directory .*/missing does not exist"):
        RunDirectory.open(tmp_path / "missing")
    with pytest.raises(RunError, match=r"/file is a file, not a run directory"):
        RunDirectory.open(tmp_path / "file")
    with pytest.raises(RunError, match=r"is not a run directory: it has no config\.json$"):
        RunDirectory.open(tmp_path)
    for seed in (1, 0):
        create(tmp_path / f"seed{seed}")
    with pytest.raises(RunError, match=r"contains run directories: name one, such as .*/seed0$"):
        RunDirectory.open(tmp_path)


@pytest.mark.parametrize(
    "text", [b"", b'{"kind": ', b"\xff\xfe", b"[" * 200_000, b"9" * 10_000], ids=range(5)
)
def test_a_config_that_is_not_json(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(RunError, match=r"config\.json is not valid JSON"):
        RunDirectory.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": 3}, "kind must be a string, not 3"),
        ({"config": []}, r"config must be an object, not \[\]"),
        ({"format_version": True}, "format_version must be an integer, not True"),
        ({"format_version": 4}, r"has format 4, .* reads format 3: upgrade plasticrl"),
        ({"format_version": 1}, r"has format 1, .* reads format 3: use the version of plasticrl"),
    ],
)
def test_a_config_with_wrong_contents(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    file = create(tmp_path / "run").path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(RunError, match=message):
        RunDirectory.open(tmp_path / "run")


@pytest.mark.parametrize("key", ["format_version", "kind", "preset", "config", "versions"])
def test_a_config_without_a_key(tmp_path: Path, key: str) -> None:
    file = create(tmp_path / "run").path / "config.json"
    contents = json.loads(file.read_text())
    del contents[key]
    file.write_text(json.dumps(contents))
    with pytest.raises(RunError, match=f"has no key '{key}'"):
        RunDirectory.open(tmp_path / "run")


def test_a_config_that_is_a_list(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(RunError, match="must hold a JSON object, not list"):
        RunDirectory.open(tmp_path)


def test_evaluation_is_replaced_whole_and_valid_json(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    run.write_evaluation({"mean": 1.0})
    run.write_evaluation({"mean": math.nan, "per_trial": [0.5, math.inf]})
    text = (run.path / "evaluation.json").read_text()
    assert json.loads(text) == {"mean": None, "per_trial": [0.5, None]}


def test_a_write_killed_in_the_middle_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "evaluation.json"
    path.write_bytes(b"old")

    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["evaluation.json"]
    assert path.read_bytes() == b"old"


def test_reading_a_run_does_not_wait_for_torch() -> None:
    code = "import sys, plasticrl.runs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
