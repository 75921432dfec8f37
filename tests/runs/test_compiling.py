"""A message is shown when loops are compiled, but not when they come from the cache."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from plasticrl.runs import notify_compilation

LOOPS = """
from numba import njit

@njit(cache=True)
def add(x):
    return x + 1

@njit(cache=True)
def take(x):
    return x - 1
"""


def loops(path: Path) -> list[Callable[[object], object]]:
    """Loops that have not been compiled in this process."""
    spec = importlib.util.spec_from_file_location("loops", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [module.add, module.take]


def test_the_message_comes_once_and_only_if_loops_are_compiled(tmp_path: Path) -> None:
    """Otherwise the user waits without a message, or gets a message without waiting."""
    path = tmp_path / "loops.py"
    path.write_text(LOOPS)
    told: list[int] = []
    add, take = loops(path)
    with notify_compilation(lambda _: told.append(1)):
        assert told == []
        assert add(1) == 2
        assert told == [1]
        assert take(1) == 0
        assert add(2) == 3
    assert told == [1]
    again, _ = loops(path)
    with notify_compilation(lambda _: told.append(2)):
        assert again(1) == 2  # kept on disk
        assert told == [1]
        again(np.float64(1.0))  # for floats, nothing is kept yet
    assert told == [1, 2]
    again(True)
    assert told == [1, 2]  # nobody listens any more
