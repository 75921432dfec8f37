"""Everything that a task's folder defines is in the table of tasks, so that the tests cover it."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import pytest

import plasticrl.tasks.registry as registry
from plasticrl.tasks.config import DataTaskConfig, TaskConfig
from plasticrl.tasks.data import DataError, EmbeddedDataSet, ExternalDataSet
from plasticrl.tasks.registry import DATA_SETS, PRESETS, TASKS, Entry

FOLDER = Path(registry.__file__).parent
ENTRIES = pytest.mark.parametrize("entry", TASKS.values(), ids=TASKS)


def config_module(entry: Entry) -> ModuleType:
    return import_module(entry.config.__module__)


def make_task(config: TaskConfig) -> Any:
    module, name = TASKS[config.name].code.split(":")
    return getattr(import_module(f"plasticrl.tasks.{module}"), name)(config)


def test_every_folder_with_a_task_is_in_the_table() -> None:
    """Otherwise a task exists that neither the command line nor a test can reach."""
    folders = {file.parent.name.replace("_", "-") for file in FOLDER.glob("*/task.py")}
    assert folders == set(TASKS)


@ENTRIES
def test_every_preset_of_a_task_is_in_the_table(entry: Entry) -> None:
    """Otherwise a preset exists that neither the command line nor a test can reach."""
    functions = {
        function
        for name, function in vars(config_module(entry)).items()
        if callable(function)
        and not name.startswith("_")
        and getattr(function, "__annotations__", {}).get("return") is entry.config
    }
    assert functions == set(entry.presets.values())
    assert len(functions) == len(entry.presets)
    assert f"{entry.config.name}-quickstart" in entry.presets
    for name, make in entry.presets.items():
        assert name.startswith(f"{entry.config.name}-")
        assert PRESETS[name] is make
        assert make.__doc__


@ENTRIES
def test_every_data_set_of_a_task_is_in_the_table(entry: Entry) -> None:
    """Otherwise ``data`` does not list a data set, and no test reads it."""
    defined = {
        value
        for value in vars(config_module(entry)).values()
        if isinstance(value, EmbeddedDataSet | ExternalDataSet)
    }
    assert defined == set(entry.data_sets)
    assert all(data.task == entry.config.name for data in defined)
    assert defined <= set(DATA_SETS)


@pytest.mark.parametrize("data", DATA_SETS, ids=lambda data: data.name)
def test_every_embedded_data_set_is_whole_and_attributed(
    data: EmbeddedDataSet | ExternalDataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the package contains a damaged file, or one without its license."""
    if isinstance(data, EmbeddedDataSet):
        assert data.read()
        assert (data.path.parent / "ATTRIBUTION.md").exists()
    else:
        monkeypatch.delenv("PLASTICRL_DATA", raising=False)
        with pytest.raises(DataError, match=data.files[0].md5):
            data.find(None)


@ENTRIES
def test_every_choice_of_data_can_be_loaded(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a value of ``--data`` fails, or loads another data set than it names."""
    monkeypatch.delenv("PLASTICRL_DATA", raising=False)
    config = entry.presets[f"{entry.config.name}-quickstart"]()
    if not isinstance(config, DataTaskConfig):
        assert not entry.data_sets
        assert make_task(config).data.name == "procedural"
        return
    choices = get_args(get_type_hints(entry.config)["data"])
    assert config.external_data in choices
    for choice in choices:
        chosen = replace(config, data=choice)
        if choice == config.external_data:
            with pytest.raises(DataError, match="data_root=FOLDER"):
                make_task(chosen)
        else:
            assert make_task(chosen).data.name == choice
