"""``keep_freed_memory``, measured by the page faults that the operating system counts."""

import subprocess
import sys

import pytest

ALLOCATE = """
import resource
from plasticrl.runs import keep_freed_memory
{call}
def allocate():
    for _ in range(5):
        b"x" * size
size = 64 << 20  # in a variable, so that Python does not compute the bytes in advance
allocate()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
allocate()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(call: str) -> int:
    """The page faults of five allocations of 64 MiB, after five others were freed."""
    command = [sys.executable, "-c", ALLOCATE.format(call=call)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc has the option")
def test_freed_memory_is_used_again_without_page_faults():
    assert page_faults("") > 1000  # the system hands out fresh pages, however large, each time
    assert page_faults("keep_freed_memory()") < 100
