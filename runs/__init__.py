"""What every run leaves behind: config, metrics, checkpoints; and loading them strictly.

Nothing here runs code from a run directory. Every file is either whole or absent: it is written
under another name, synced, and renamed. What is wrong with one is said in a `RunError`.

The names that need torch, numpy, tyro or rich are imported when first used, so that a command line
that only reads a config (and its `--help`) does not wait for them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from plasticrl.runs.commands import (
    Elsewhere,
    check_preset,
    default_run_dir,
    guarded,
    interrupted,
    python_here,
    resuming,
    say_loading,
)
from plasticrl.runs.directory import CONFIG_NAME, RunDirectory
from plasticrl.runs.errors import RunError, UsageError
from plasticrl.runs.files import atomic_write, null_non_finite
from plasticrl.runs.interrupts import CtrlC
from plasticrl.runs.metrics import MetricsLog, read_metrics
from plasticrl.runs.strict import flat, from_dict, to_dict

if TYPE_CHECKING:
    from plasticrl.runs.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
    from plasticrl.runs.devices import check_device
    from plasticrl.runs.flags import parse_flags, parse_preset
    from plasticrl.runs.progress import COMPILING, Lines, Timing
    from plasticrl.runs.rng import get_rng_state, set_rng_state
    from plasticrl.runs.series import Series, read_series

__all__ = [
    "COMPILING",
    "CONFIG_NAME",
    "CtrlC",
    "Elsewhere",
    "Lines",
    "MetricsLog",
    "RunDirectory",
    "RunError",
    "Series",
    "Timing",
    "UsageError",
    "atomic_write",
    "check_device",
    "check_preset",
    "default_run_dir",
    "flat",
    "from_dict",
    "get_rng_state",
    "guarded",
    "interrupted",
    "latest_checkpoint",
    "load_checkpoint",
    "null_non_finite",
    "parse_flags",
    "parse_preset",
    "python_here",
    "read_metrics",
    "read_series",
    "resuming",
    "save_checkpoint",
    "say_loading",
    "set_rng_state",
    "to_dict",
]

_LATE = {
    "COMPILING": "progress",
    "Lines": "progress",
    "Series": "series",
    "Timing": "progress",
    "check_device": "devices",
    "get_rng_state": "rng",
    "latest_checkpoint": "checkpoint",
    "load_checkpoint": "checkpoint",
    "parse_flags": "flags",
    "parse_preset": "flags",
    "read_series": "series",
    "save_checkpoint": "checkpoint",
    "set_rng_state": "rng",
}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
