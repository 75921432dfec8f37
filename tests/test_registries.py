"""What is defined is registered, so that the tests that loop over the registries reach it.

The tables of tasks have such tests of their own, in ``tests/tasks/test_registry.py``.
"""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import get_args

import pytest

import plasticrl.envs
from plasticrl.agents.training import presets
from plasticrl.commands.program import COMMANDS, SCRIPTS
from plasticrl.core import rules
from plasticrl.core.cells import CELLS, configs
from plasticrl.core.plasticity import Bound, Rule
from plasticrl.envs.batch import BatchEnv
from plasticrl.envs.registration import TABLE

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "folder", ["agents", "commands", "core", "envs", "runs", "tasks", "viewer"]
)
def test_every_public_name_is_there(folder: str) -> None:
    """Otherwise ``from plasticrl.core import ...`` fails for a name in the list of lazy imports."""
    package = importlib.import_module(f"plasticrl.{folder}")
    public = getattr(package, "__all__", ())
    missing = [name for name in public if not hasattr(package, name)]
    late = getattr(package, "_MODULES", {})
    assert (missing, set(late) - set(public)) == ([], set())


def test_every_preset_of_an_agent_is_in_the_table() -> None:
    """Otherwise it could not be typed, and no test would train it."""
    functions = {
        function
        for _, function in inspect.getmembers(presets, inspect.isfunction)
        if function.__module__ == presets.__name__ and not function.__name__.startswith("_")
    }
    assert functions == set(presets.PRESETS.values())
    names = [function.__name__.replace("_", "-") for function in presets.PRESETS.values()]
    assert names == list(presets.PRESETS)


def test_every_cell_is_in_the_table() -> None:
    """Otherwise the command line does not know a cell, and no test runs it."""
    named = {
        form
        for _, form in inspect.getmembers(configs, inspect.isclass)
        if issubclass(form, configs.CellConfig) and "name" in vars(form)
    }
    assert named == {entry.config for entry in CELLS.values()}
    assert all(name == entry.config.name for name, entry in CELLS.items())
    files = {file.stem for file in Path(configs.__file__).parent.glob("*.py")}
    assert files - {"__init__", "cell", "composed", "configs"} == set(CELLS)


def test_every_rule_and_bound_is_in_its_table() -> None:
    """No option could choose it, and no test would run it."""
    functions = {
        function
        for _, function in inspect.getmembers(rules, inspect.isfunction)
        if function.__module__ == rules.__name__ and function is not rules.trace_limit
    }
    assert functions == {*rules.RULES.values(), *rules.BOUNDS.values()}
    assert (set(rules.RULES), set(rules.BOUNDS)) == (set(get_args(Rule)), set(get_args(Bound)))


def test_every_environment_is_in_the_table() -> None:
    """Otherwise ``gym.make`` would not find it, and no test would check it."""
    modules = [
        importlib.import_module(f"plasticrl.envs.{module.name}")
        for module in pkgutil.iter_modules(plasticrl.envs.__path__)
    ]
    batches = {
        (module.__name__.rpartition(".")[2], name)
        for module in modules
        for name, form in inspect.getmembers(module, inspect.isclass)
        if issubclass(form, BatchEnv) and form is not BatchEnv
        if form.__module__ == module.__name__
    }
    assert batches == {(row.module, row.batch) for row in TABLE}


def test_every_command_has_a_module_and_every_script_a_command() -> None:
    """Otherwise a command in --help ends in a traceback, or a script does nothing."""
    for command in COMMANDS:
        assert callable(importlib.import_module(f"plasticrl.commands.{command}").main)
    assert set(SCRIPTS.values()) <= set(COMMANDS)
    assert {path.name for path in ROOT.glob("*.py")} == set(SCRIPTS)


@pytest.mark.parametrize(
    "file",
    [
        "agents/options.py",
        "agents/training/config.py",
        "commands/data.py",
        "commands/evaluate.py",
        "commands/plot.py",
        "commands/show.py",
        "commands/train.py",
        "core/cells/configs.py",
        "core/plasticity.py",
        "tasks/config.py",
        *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tasks/*/config.py")),
    ],
)
def test_every_flag_says_what_it_does(file: str) -> None:
    """Otherwise ``--help`` shows a flag without an explanation."""
    silent = []
    for form in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(form, ast.ClassDef) and form.decorator_list:
            for field, after in zip(form.body, [*form.body[1:], None], strict=True):
                if not isinstance(field, ast.AnnAssign) or isinstance(after, ast.Expr):
                    continue
                if not re.match(
                    r"ClassVar|tyro\.conf\.OmitArgPrefixes", ast.unparse(field.annotation)
                ):
                    silent.append(f"{form.name}.{ast.unparse(field.target)}")
    assert silent == []
