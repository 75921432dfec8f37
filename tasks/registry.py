"""The tasks there are, in one table: their presets, their data, and where their code is.

Each task's folder has its own presets, plain functions whose docstrings say where the numbers come
from; they are named ``<task>-<scale>``: quickstart, within minutes; paper, as published.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from plasticrl.tasks.bohp import config as bohp
from plasticrl.tasks.config import TaskConfig
from plasticrl.tasks.data import Embedded, Real
from plasticrl.tasks.images import config as images
from plasticrl.tasks.language import config as language
from plasticrl.tasks.omniglot import config as omniglot
from plasticrl.tasks.patterns import config as patterns


class Entry(NamedTuple):
    """A line of the table."""

    config: type[TaskConfig]
    code: str
    """module:class, imported when used: it needs torch."""
    presets: Mapping[str, Callable[[], TaskConfig]]
    data_sets: tuple[Embedded | Real, ...] = ()


TASKS = {
    entry.config.task: entry
    for entry in (
        Entry(patterns.PatternsConfig, "patterns.task:Patterns", patterns.PRESETS),
        Entry(images.ImagesConfig, "images.task:Images", images.PRESETS, images.DATA_SETS),
        Entry(
            omniglot.OmniglotConfig, "omniglot.task:Omniglot", omniglot.PRESETS, omniglot.DATA_SETS
        ),
        Entry(bohp.BohpConfig, "bohp.task:Bohp", bohp.PRESETS),
        Entry(
            language.LanguageConfig, "language.task:Language", language.PRESETS, language.DATA_SETS
        ),
    )
}
PRESETS = {name: make for entry in TASKS.values() for name, make in entry.presets.items()}
DATA_SETS = tuple(data for entry in TASKS.values() for data in entry.data_sets)
