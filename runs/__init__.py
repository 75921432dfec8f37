"""The files of a run (config, metrics, checkpoints), and the training session.

Reading a run directory never runs code from it. Files are written atomically: they are complete or
absent. ``RunError`` names a damaged file and says what is wrong with it.

Names that need torch, NumPy or Numba are imported when they are first used, so that ``--help`` and
commands that only read a config do not wait for them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from plasticrl.runs.directory import CONFIG_NAME, RunDirectory
from plasticrl.runs.errors import DivergedError, RunError, UsageError, UserCodeError, WriteError
from plasticrl.runs.files import atomic_write, make_folder, null_non_finite
from plasticrl.runs.intervals import mean_interval, rounded, wilson_interval
from plasticrl.runs.lock import FolderLock
from plasticrl.runs.memory import keep_freed_memory
from plasticrl.runs.metrics import MetricsLog, read_metrics
from plasticrl.runs.seeds import check_seed
from plasticrl.runs.strict import flat, from_dict, to_dict

if TYPE_CHECKING:
    from plasticrl.runs.checkpoint import (
        has_checkpoint,
        latest_checkpoint,
        latest_step,
        load_checkpoint,
        load_latest,
        remove_old_checkpoints,
        save_checkpoint,
    )
    from plasticrl.runs.compiling import notify_compilation
    from plasticrl.runs.devices import check_device
    from plasticrl.runs.rng import get_rng_state, set_rng_state
    from plasticrl.runs.series import Series, read_series
    from plasticrl.runs.session import Progress, TrainingSession

__all__ = [
    "CONFIG_NAME",
    "DivergedError",
    "FolderLock",
    "MetricsLog",
    "Progress",
    "RunDirectory",
    "RunError",
    "Series",
    "TrainingSession",
    "UsageError",
    "UserCodeError",
    "WriteError",
    "atomic_write",
    "check_device",
    "check_seed",
    "flat",
    "from_dict",
    "get_rng_state",
    "has_checkpoint",
    "keep_freed_memory",
    "latest_checkpoint",
    "latest_step",
    "load_checkpoint",
    "load_latest",
    "make_folder",
    "mean_interval",
    "notify_compilation",
    "null_non_finite",
    "read_metrics",
    "read_series",
    "remove_old_checkpoints",
    "rounded",
    "save_checkpoint",
    "set_rng_state",
    "to_dict",
    "wilson_interval",
]

_MODULES = {
    "Progress": "session",
    "Series": "series",
    "TrainingSession": "session",
    "check_device": "devices",
    "get_rng_state": "rng",
    "has_checkpoint": "checkpoint",
    "latest_checkpoint": "checkpoint",
    "latest_step": "checkpoint",
    "load_checkpoint": "checkpoint",
    "load_latest": "checkpoint",
    "notify_compilation": "compiling",
    "read_series": "series",
    "remove_old_checkpoints": "checkpoint",
    "save_checkpoint": "checkpoint",
    "set_rng_state": "rng",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
