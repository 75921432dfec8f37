"""A lock on a run directory, so that two processes do not train the same run."""

import os
import sys
from pathlib import Path

from plasticrl.runs.errors import RunError, WriteError

if sys.platform != "win32":  # Windows has no fcntl
    from fcntl import LOCK_EX, LOCK_NB, flock


class FolderLock:
    """Locks a folder until it is released or deleted, or the process ends. It creates no file.

    Raises:
        RunError: another lock, of this process or of another, holds the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor: int | None = None
        if sys.platform == "win32":
            return
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            flock(self._descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise RunError(
                f"{folder} is being trained by another process: stop that one first"
            ) from error
        except OSError:  # the file system has no locks
            self.release()

    def check(self) -> None:
        """Raise ``WriteError`` if another folder has taken the place of the locked one."""
        if self._descriptor is None:
            return
        try:
            is_same = os.path.samestat(os.stat(self.folder), os.fstat(self._descriptor))
        except FileNotFoundError:
            return  # the next write raises an error
        if not is_same:
            raise WriteError(f"cannot write {self.folder}: another folder has taken its place")

    def release(self) -> None:
        """Release the folder, if it is locked."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.release()
