"""The table of all tasks, with their presets, data sets and code.

A preset is a plain function in the task's folder, whose docstring says where its numbers come
from. Its name is ``<task>-<scale>``: ``quickstart`` takes minutes, ``paper`` is as published.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from plasticrl.tasks.associative_retrieval import config as associative_retrieval
from plasticrl.tasks.bohp import config as bohp
from plasticrl.tasks.config import TaskConfig
from plasticrl.tasks.copy_delay import config as copy_delay
from plasticrl.tasks.data import EmbeddedDataSet, ExternalDataSet
from plasticrl.tasks.few_shot_regression import config as few_shot_regression
from plasticrl.tasks.images import config as images
from plasticrl.tasks.language import config as language
from plasticrl.tasks.omniglot import config as omniglot
from plasticrl.tasks.patterns import config as patterns


class Entry(NamedTuple):
    """A row of the table."""

    config: type[TaskConfig]
    code: str
    """``module:class`` below ``plasticrl.tasks``. It is imported on use, since it needs torch."""
    presets: Mapping[str, Callable[[], TaskConfig]]
    data_sets: tuple[EmbeddedDataSet | ExternalDataSet, ...] = ()


TASKS = {
    entry.config.name: entry
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
        Entry(
            associative_retrieval.AssociativeRetrievalConfig,
            "associative_retrieval.task:AssociativeRetrieval",
            associative_retrieval.PRESETS,
        ),
        Entry(copy_delay.CopyDelayConfig, "copy_delay.task:CopyDelay", copy_delay.PRESETS),
        Entry(
            few_shot_regression.FewShotRegressionConfig,
            "few_shot_regression.task:FewShotRegression",
            few_shot_regression.PRESETS,
        ),
    )
}
"""The tasks by name."""
PRESETS = {name: make for entry in TASKS.values() for name, make in entry.presets.items()}
"""The presets of all tasks by name."""
DATA_SETS = tuple(data for entry in TASKS.values() for data in entry.data_sets)
"""The data sets of all tasks."""
