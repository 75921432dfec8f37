"""What is installed: the folders, as one namespace, and nothing at the top level."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("commands", "core", "envs", "runs", "tasks", "agents", "viewer")
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, built from a copy of the tree, and the wheel, built from the sdist."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in (*FOLDERS, "typings"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tree / folder, symlinks=True, ignore=ignore)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, tree)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tree / "out"), str(tree)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return tree / "out"


@pytest.fixture(scope="module")
def in_wheel(dist: Path) -> set[str]:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def in_sdist(dist: Path) -> set[str]:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        return {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}


def test_the_wheel_has_only_the_folders(in_wheel: set[str]) -> None:
    """Otherwise an installation lacks a module, or has a top-level ``agents``."""
    code_and_data = {
        f"plasticrl/{path.relative_to(ROOT).as_posix()}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    metadata = {name for name in in_wheel if name.startswith("plasticrl-0.1.0.dist-info/")}
    assert {f"plasticrl/{folder}/py.typed" for folder in FOLDERS} <= code_and_data
    assert in_wheel - metadata == code_and_data


def test_the_licence_is_in_the_wheel(in_wheel: set[str]) -> None:
    """The MIT license requires it."""
    assert "plasticrl-0.1.0.dist-info/licenses/LICENSE" in in_wheel


@pytest.mark.parametrize("name", [*SCRIPTS, "constraints.txt", "README.md", "LICENSE"])
def test_the_sdist_holds_the_scripts(name: str, in_sdist: set[str]) -> None:
    """Otherwise users of the sdist cannot train."""
    assert (ROOT / name).exists()
    assert name in in_sdist


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_without_the_package_names_the_remedy(name: str) -> None:
    """Otherwise a traceback would be the first thing that a new user sees."""
    done = subprocess.run(  # without site-packages nothing is installed
        [sys.executable, "-I", "-S", str(ROOT / name), "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: No module named 'plasticrl' for ")
    assert "use .venv/bin/python" in done.stderr
    assert done.stderr.count("\n") == 1
