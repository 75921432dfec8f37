"""Who may know whom, and under which name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("commands", "core", "envs", "runs", "tasks", "agents", "viewer")


def run(*argv: str, **options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        argv,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "typings"},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_the_contracts_are_kept() -> None:
    """A layer would know one that it must not know."""
    tool = str(Path(sys.executable).with_name("lint-imports"))
    done = run(tool, "--no-cache")
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("package", ["plasticrl.envs", "plasticrl.viewer"])
def test_no_torch(package: str) -> None:
    """Who wants the environments alone would wait for torch; contracts see no lazy imports."""
    code = f"import sys, {package}; sys.exit('torch' in sys.modules)"
    done = run(sys.executable, "-c", code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("statement", ["import {}", "from {} import x", "import {}.y"])
def test_the_bare_names_are_banned(statement: str) -> None:
    """``import agents`` works in this folder only, or takes somebody else's package."""
    lines = "".join(statement.format(folder) + "\n" for folder in FOLDERS)
    done = run(
        *(sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID251"),
        *("--output-format", "concise", "--stdin-filename", "benchmarks/new.py", "-"),
        input=lines,
    )
    banned = [folder for folder in FOLDERS if f"import plasticrl.{folder}" in done.stdout]
    assert banned == list(FOLDERS)


def test_every_folder_with_code_is_named_here() -> None:
    """A new package would go unguarded."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    run_from_here = {"benchmarks", "tools"}  # not installed
    assert packages - run_from_here == set(FOLDERS)
