"""Which folders may import which others, and under which names."""

import ast
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
    """Otherwise a layer imports one that it must not import."""
    tool = str(Path(sys.executable).with_name("lint-imports"))
    done = run(tool, "--no-cache")
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("package", ["plasticrl.envs", "plasticrl.viewer"])
def test_no_torch(package: str) -> None:
    """Otherwise users of the environments wait for torch. The contracts miss lazy imports."""
    code = f"import sys, {package}; sys.exit('torch' in sys.modules)"
    done = run(sys.executable, "-c", code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("statement", ["import {}", "from {} import x", "import {}.y"])
def test_the_bare_names_are_banned(statement: str) -> None:
    """``import agents`` works only in this folder, or imports another package of that name."""
    lines = "".join(statement.format(folder) + "\n" for folder in FOLDERS)
    done = run(
        *(sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID251"),
        *("--output-format", "concise", "--stdin-filename", "benchmarks/new.py", "-"),
        input=lines,
    )
    banned = [folder for folder in FOLDERS if f"import plasticrl.{folder}" in done.stdout]
    assert banned == list(FOLDERS)


def test_every_folder_with_code_is_named_here() -> None:
    """Otherwise a new package is not checked."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    run_from_here = {"benchmarks", "tools"}  # not installed
    assert packages - run_from_here == set(FOLDERS)


def imports_of(path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports, at the top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = {f"{node.module}.{alias.name}" for alias in node.names} & modules.keys()
            names = names or {node.module}
        else:
            continue
        found |= names & modules.keys()
    return found


def circle(root: Path, folders: tuple[str, ...]) -> list[str]:
    """Modules that import each other in a circle; none if there is no circle."""
    modules = {
        "plasticrl." + ".".join(path.relative_to(root).with_suffix("").parts): path
        for folder in folders
        for path in (root / folder).rglob("*.py")
        if path.name != "__init__.py"
    }
    needs = {name: imports_of(path, modules) - {name} for name, path in modules.items()}
    while free := [name for name, needed in needs.items() if not needed]:
        for name in free:
            del needs[name]
        for needed in needs.values():
            needed.difference_update(free)
    return sorted(needs)


def test_no_files_import_each_other_in_a_circle() -> None:
    """Otherwise a late import hides that code is in the wrong file."""
    assert circle(ROOT, FOLDERS) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    """Otherwise the test above passes whatever the files import."""
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "a.py").write_text("def f():\n    from plasticrl.core import b\n")
    (tmp_path / "core" / "b.py").write_text("from plasticrl.core.a import f\n")
    (tmp_path / "core" / "c.py").write_text("import plasticrl.core.a\n")
    assert {"plasticrl.core.a", "plasticrl.core.b"} <= set(circle(tmp_path, ("core",)))
