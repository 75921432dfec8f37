"""Compiled loops where neither the installation nor a home directory can be written."""

import subprocess
import sys

CODE = """
from numba.core import caching
caching.CompileResultCacheImpl._locator_classes = []  # as if no folder could be written
import numpy as np
import plasticrl.core.backends
from torch import zeros
from plasticrl.agents.sampling import Heads, sample_actions
from plasticrl.core.numba_cache import CAN_CACHE
heads, one = Heads.of([(zeros(1, 1), zeros(1))]), np.ones((1, 1), dtype=np.float32)
print(CAN_CACHE, sample_actions(heads, one, one > 0, one[0] / 2, heads.scratch()))
"""


def test_loops_are_compiled_without_keeping_them() -> None:
    """Otherwise an import would fail in a container with a read-only file system."""
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.stdout, done.stderr) == ("False [0]\n", "")
