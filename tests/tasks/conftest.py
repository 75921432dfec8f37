"""A fixture that gives the figures of a task before they are saved as pixels."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from plasticrl.tasks import drawing


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """The figures that a task saves, by the names of their files."""
    kept: dict[str, Figure] = {}
    save = drawing.save

    def keep(folder: Path, **figures: Figure) -> list[Path]:
        kept.update(figures)
        return save(folder, **figures)

    monkeypatch.setattr(drawing, "save", keep)
    return kept
