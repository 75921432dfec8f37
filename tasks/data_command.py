"""``train_supervised.py data``: which data sets there are, and whether they are whole."""

from collections.abc import Iterator

from plasticrl.tasks.data import ENVIRONMENT, DataError, Embedded, Real, root
from plasticrl.tasks.registry import DATA_SETS


def report(data_root: str | None) -> Iterator[str]:
    """Lines on what is embedded, what was found in the data root and what is missing."""
    yield "Embedded:"
    for data in DATA_SETS:
        if isinstance(data, Embedded):
            yield f"  {data.name} ({data.task}): {data.about}"
            yield f"    {_state(data)}"
    folder = root(data_root)
    where = f"in {folder}" if folder else f"name their folder with --data-root or {ENVIRONMENT}"
    yield f"To be brought, {where}:"
    for data in DATA_SETS:
        if isinstance(data, Real):
            yield f"  {data.name} ({data.task}), stand-in: {data.stand_in}"
            yield from (f"    {line}" for line in _found(data, data_root))


def _state(data: Embedded) -> str:
    try:
        data.read()
    except DataError as error:
        return str(error)
    return f"sha256 {data.sha256}, as it should be"


def _found(data: Real, data_root: str | None) -> Iterator[str]:
    if root(data_root) is None:
        yield from (f"{file.name}, md5 {file.md5}" for file in data.files)
        return
    try:
        for path in data.find(data_root):
            # A folder has no published checksum: its contents are counted when they are used.
            yield f"{path}: {'unpacked' if path.is_dir() else 'as it should be'}"
    except DataError as error:
        yield str(error)
