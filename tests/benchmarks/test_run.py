"""The command: what it refuses, and one small run."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.registry import NAMES
from benchmarks.run import OUT, TRIAL_OUT, _parse

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.run", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_file_that_measures_is_in_the_table() -> None:
    """Otherwise it would never be run."""
    assert sorted(NAMES) == sorted(
        path.stem for path in (ROOT / "benchmarks").glob("*.py") if _measures(path)
    )


def _measures(path: Path) -> bool:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(isinstance(node, ast.FunctionDef) and node.name == "measure" for node in body)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--only", "lunch"], "lunch"),
        (["--repeat", "0"], "--repeat must be at least 1, not 0"),
        (["--threads", "0"], "--threads must be from 1"),
        (["--threads", "many"], "many"),
        (["--qick"], "--qick"),
    ],
)
def test_a_bad_argument_is_named_in_one_line(
    arguments: list[str], named: str, tmp_path: Path
) -> None:
    done = run(*arguments, "--out", str(tmp_path / "out"))
    _assert_refused(done, named)
    assert not any(tmp_path.iterdir())


def test_it_does_not_start_where_it_cannot_write(tmp_path: Path) -> None:
    """Otherwise a long run would be lost at its end."""
    (tmp_path / "file").touch()
    _assert_refused(run("--out", str(tmp_path / "file" / "out")), "--out: cannot write to")


def _assert_refused(done: subprocess.CompletedProcess[str], named: str) -> None:
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert named in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [([], OUT), (["--quick"], TRIAL_OUT), (["--only", "envs"], TRIAL_OUT)],
)
def test_a_trial_takes_no_place_of_a_whole_run(arguments: list[str], folder: Path) -> None:
    """Otherwise whoever tries the benchmarks loses the published results."""
    _, options = _parse(arguments)
    assert options.out == folder


def test_a_quick_run_writes_its_tables(tmp_path: Path) -> None:
    out = tmp_path / "results"
    arguments = ["--quick", "--only", "envs", "--repeat", "1", "--out", str(out)]
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    content = json.loads((out / "benchmarks.json").read_text(encoding="utf-8"))
    assert content["command"].startswith("python -m benchmarks.run --quick --only envs")
    assert {"CPU", "cores", "RAM", "OS", "Python", "torch", "numba", "numpy", "threads"} <= set(
        content["machine"]
    )
    (table,) = content["benchmarks"]["envs"]["tables"]
    assert {row["environment"] for row in table["rows"]} == {
        "plasticrl/GridMaze-v0",
        "plasticrl/TMaze-v0",
        "plasticrl/CueReward-v0",
        "plasticrl/Bandit-v0",
        "plasticrl/TwoStep-v0",
        "plasticrl/TransitiveInference-v0",
        "plasticrl/Harlow-v0",
    }
    assert done.stdout.strip() in (out / "benchmarks.md").read_text(encoding="utf-8")
