"""Supervised runs by name, ``<task>-<scale>``: quickstart, within minutes; paper, as published.

Each task's folder has its own, plain functions whose docstrings say where the numbers come from.
"""

from collections.abc import Callable

from plasticrl.tasks.bohp.config import PRESETS as BOHP
from plasticrl.tasks.config import TaskConfig
from plasticrl.tasks.images.config import PRESETS as IMAGES
from plasticrl.tasks.language.config import PRESETS as LANGUAGE
from plasticrl.tasks.omniglot.config import PRESETS as OMNIGLOT
from plasticrl.tasks.patterns.config import PRESETS as PATTERNS

PRESETS: dict[str, Callable[[], TaskConfig]] = {
    **PATTERNS,
    **IMAGES,
    **OMNIGLOT,
    **BOHP,
    **LANGUAGE,
}
