"""The help texts that are made from docstrings."""

from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from plasticrl.commands.data import DataArguments
from plasticrl.commands.evaluate import EvaluateArguments
from plasticrl.commands.help import with_help
from plasticrl.commands.train import PRESETS, ResumeArguments


def texts(form: type[Any]) -> dict[str, tuple[str, Any]]:
    """The help text and the default of each flag, by the name of its field."""
    found: dict[str, tuple[str, Any]] = {}
    for item in fields(form):
        hint: Any = form.__annotations__[item.name]
        if is_dataclass(hint.__origin__):
            found |= texts(hint.__origin__)
        for marker in hint.__metadata__:
            if (text := getattr(marker, "help", None)) is not None:
                found[item.name] = (text, item.default)
    return found


@pytest.mark.parametrize(
    "form",
    [EvaluateArguments, ResumeArguments, DataArguments, *(type(p()) for p in PRESETS.values())],
)
def test_every_flag_says_what_happens_without_it(form: type[Any]) -> None:
    """Otherwise the help has a flag whose default is neither shown nor explained."""
    described = texts(with_help(form))
    assert len(described) >= len(fields(form)) - 2
    for name, (text, default) in described.items():
        assert "``" not in text, name
        assert "\n" not in text, name
        if default is None:
            optional = ("None", "efault", "Instead of", "instead of", "Write", "Draw")
            assert any(word in text for word in optional), f"{name}: {text}"
