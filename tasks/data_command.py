"""``train_supervised.py data``: which data sets there are, and whether they are whole."""

from collections.abc import Iterator

from plasticrl.tasks.data import (
    DATA_ROOT_VARIABLE,
    DataError,
    EmbeddedDataSet,
    ExternalDataSet,
    resolve_data_root,
)
from plasticrl.tasks.registry import DATA_SETS


def report(data_root: str | None) -> Iterator[str]:
    """Lines on what is embedded, what was found in the data root and what is missing."""
    yield "Embedded:"
    for data in DATA_SETS:
        if isinstance(data, EmbeddedDataSet):
            yield f"  {data.name} ({data.task}): {data.description}"
            yield f"    {_state(data)}"
    folder = resolve_data_root(data_root)
    where = (
        f"in {folder}" if folder else f"name their folder with --data-root or {DATA_ROOT_VARIABLE}"
    )
    yield f"To be brought, {where}:"
    for data in DATA_SETS:
        if isinstance(data, ExternalDataSet):
            yield f"  {data.name} ({data.task}), stand-in: {data.substitute_flag}"
            yield from (f"    {line}" for line in _found(data, data_root))


def _state(data: EmbeddedDataSet) -> str:
    try:
        data.read()
    except DataError as error:
        return str(error)
    return f"sha256 {data.sha256}, as it should be"


def _found(data: ExternalDataSet, data_root: str | None) -> Iterator[str]:
    if resolve_data_root(data_root) is None:
        yield from (f"{file.name}, md5 {file.md5}" for file in data.files)
        return
    try:
        for path in data.find(data_root):
            # A folder has no published checksum: its contents are counted when they are used.
            yield f"{path}: {'unpacked' if path.is_dir() else 'as it should be'}"
    except DataError as error:
        yield str(error)
