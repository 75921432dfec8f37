"""The table of benchmarks: one file each, with a function ``measure``, and one line here."""

from collections.abc import Callable
from importlib import import_module

from benchmarks.measuring import Settings
from benchmarks.report import Table

NAMES = (
    "sequence",  # time and memory of a sequence, eager against fused
    "iteration",  # a complete A2C iteration, eager against fused
    "threads",  # the iteration with one and with two threads
    "seeds",  # runs of several seeds together, against one after the other
    "breakdown",  # where the time of an iteration goes
    "envs",  # native batches against loops over single environments
    "lstm",  # RecurrentA2C against sb3-contrib's RecurrentPPO
    "ppo",  # RecurrentPPO against sb3-contrib's, memory and speed
    "growth",  # time against N, B and T
    "share",  # rates of the fused sequence relative to the machine's
)


def load(name: str) -> tuple[str, Callable[[Settings], list[Table]]]:
    """The title of a benchmark, which is the first line of its file, and its ``measure``."""
    module = import_module(f"benchmarks.{name}")
    return (module.__doc__ or name).splitlines()[0].rstrip("."), module.measure
