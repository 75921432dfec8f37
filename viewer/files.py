"""Checks of the paths to write to, and writing that leaves no partial files."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from plasticrl.viewer.errors import ViewerError


def check_path(path: Path, doing: str, suffixes: Sequence[str]) -> None:
    """Raise ``ViewerError`` unless a file with one of ``suffixes`` can be written to ``path``.

    Args:
        doing: ``record``, ``report`` or ``plot``, for the message.
        suffixes: in lower case, each with its dot.
    """
    if path.suffix.lower() not in suffixes:
        *most, last = suffixes
        named = f"{', '.join(most)} or {last}" if most else last
        raise ViewerError(f"cannot {doing} to {path}: the name must end in {named}")
    if path.is_dir():
        raise ViewerError(f"cannot {doing} to {path}: it is a folder")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ViewerError(f"cannot {doing} to {path}: {path.parent} is not a writable folder")


@contextmanager
def replacing(path: Path, doing: str) -> Iterator[Path]:
    """Yield a temporary path, which is renamed to ``path`` if the block ends without an error.

    Raises:
        ViewerError: the block or the renaming raised an ``OSError``; ``doing`` is for the message.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = (
            error.strerror or str(error).partition("\n")[0]
        )  # the messages of ffmpeg have many lines
        raise ViewerError(f"cannot {doing} to {path}: {reason}") from error
    finally:
        with suppress(OSError):  # after the renaming it does not exist
            temporary.unlink()
