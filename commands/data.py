"""``plasticrl data``: lists the data sets and checks whether they are complete."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from plasticrl.commands.flags import flags_in_errors
from plasticrl.commands.parse import parse_flags
from plasticrl.commands.program import command_line
from plasticrl.tasks.data import (
    DATA_ROOT_VARIABLE,
    DataError,
    EmbeddedDataSet,
    ExternalDataSet,
    resolve_data_root,
)
from plasticrl.tasks.registry import DATA_SETS


@dataclass(frozen=True, kw_only=True)
class DataArguments:
    """List the data sets: those that are embedded, and those found in your data folder."""

    data_root: str | None = None
    """Folder of the data sets that are not embedded; by default the value of PLASTICRL_DATA."""


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    arguments = parse_flags(DataArguments, argv, prog=command_line("data"))
    with flags_in_errors(DataArguments):
        print(*_lines(arguments.data_root), sep="\n")
    return 0


def _lines(data_root: str | None) -> Iterator[str]:
    yield "Embedded:"
    for data in DATA_SETS:
        if isinstance(data, EmbeddedDataSet):
            yield f"  {data.name} ({data.task}): {data.description}"
            yield f"    {_state(data)}"
    folder = resolve_data_root(data_root)
    where = (
        f"in {folder}" if folder else f"name their folder with --data-root or {DATA_ROOT_VARIABLE}"
    )
    yield f"Not embedded, {where}:"
    for data in DATA_SETS:
        if isinstance(data, ExternalDataSet):
            yield f"  {data.name} ({data.task}); its embedded substitute: --data {data.substitute}"
            yield from (f"    {line}" for line in _found(data, data_root))


def _state(data: EmbeddedDataSet) -> str:
    try:
        data.read()
    except DataError as error:
        return str(error)
    return f"sha256 {data.sha256}: verified"


def _found(data: ExternalDataSet, data_root: str | None) -> Iterator[str]:
    if resolve_data_root(data_root) is None:
        yield from (f"{file.name}, md5 {file.md5}" for file in data.files)
        return
    try:
        for path in data.find(data_root):
            # No checksum is published for a folder; its contents are counted when they are used.
            yield f"{path}: {'unpacked' if path.is_dir() else 'verified'}"
    except DataError as error:
        yield str(error)
