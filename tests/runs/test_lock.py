"""A lock on a run directory."""

import subprocess
import sys
from pathlib import Path

import pytest

from plasticrl.runs import FolderLock, RunError, WriteError

HOLD = """
import sys
from pathlib import Path
from plasticrl.runs import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_another_process_holds_it(tmp_path: Path) -> None:
    """Otherwise two processes write into one run."""
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "locked\n"
    with pytest.raises(RunError, match="is being trained by another process"):
        FolderLock(tmp_path)
    other.kill()
    other.communicate()
    FolderLock(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_it_is_released(tmp_path: Path) -> None:
    """Otherwise a run can be resumed only in a new process."""
    FolderLock(tmp_path).release()
    lock = FolderLock(tmp_path)
    with pytest.raises(RunError):
        FolderLock(tmp_path)
    del lock
    FolderLock(tmp_path)


def test_another_folder_in_the_place_of_the_locked_one(tmp_path: Path) -> None:
    """Otherwise the checkpoints of a run replace those of another one."""
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    other.mkdir()
    lock = FolderLock(run)
    lock.check()
    run.rename(tmp_path / "moved")
    lock.check()  # a file that is written finds no folder
    other.rename(run)
    with pytest.raises(WriteError, match="another folder has taken its place"):
        lock.check()
    lock.release()
    lock.check()
