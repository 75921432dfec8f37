"""Writing results as Markdown and JSON. A row is a dict; its keys are headings with units."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from plasticrl.runs import atomic_write

Value = str | int | float | None
Row = dict[str, Value]

MISSING = "-"
INTEGER_FORMAT_FROM = 1000
"""Numbers from this size on are shown without decimals, smaller ones with three digits."""


@dataclass(frozen=True)
class Table:
    """Rows with the same keys, and notes that explain them."""

    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Finished:
    """The results of one benchmark."""

    title: str
    seconds: float
    tables: Sequence[Table]


@dataclass
class Report:
    """The complete report."""

    command: str
    commit: str | None
    date: str
    quick: bool
    repeat: int
    machine: dict[str, str]
    benchmarks: dict[str, Finished] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write ``benchmarks.json`` and ``benchmarks.md`` in the folder, replacing older ones."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        atomic_write(folder / "benchmarks.json", text.encode())
        atomic_write(folder / "benchmarks.md", self.markdown().encode())

    def markdown(self) -> str:
        """The report as Markdown."""
        kind = "small sizes, for a trial" if self.quick else "full sizes"
        parts = [
            "# Benchmarks",
            f"`{self.command}`",
            f"Commit {self.commit or 'unknown'}, {self.date}; {kind}; medians of {self.repeat}.",
            markdown_table([{"machine": key, "": value} for key, value in self.machine.items()]),
            *(section(name, finished) for name, finished in self.benchmarks.items()),
        ]
        return "\n\n".join(parts) + "\n"


def section(name: str, finished: Finished) -> str:
    """One benchmark as Markdown: its tables, each with its notes."""
    parts = [f"## {name}: {finished.title}"]
    for table in finished.tables:
        parts += [f"**{table.title}**", markdown_table(table.rows)]
        parts += ["\n".join(f"- {note}" for note in table.notes)] if table.notes else []
    return "\n\n".join(parts)


def markdown_table(rows: Sequence[Row]) -> str:
    """Format rows as a Markdown table, with numbers aligned to the right.

    Raises:
        ValueError: the rows do not have the same keys in the same order.
    """
    if not rows:
        return "Nothing was measured."
    headings = list(rows[0])
    for row in rows:
        if list(row) != headings:
            raise ValueError(f"rows must have the same keys: {list(row)} is not {headings}")
    rule = ["---" if _is_text(rows, heading) else "---:" for heading in headings]
    cells = [[_format(value) for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [headings, rule, *cells])


def _is_text(rows: Sequence[Row], heading: str) -> bool:
    return any(isinstance(row[heading], str) for row in rows)


def _format(value: Value) -> str:
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value.replace("|", "\\|")
    if isinstance(value, int) or abs(value) >= INTEGER_FORMAT_FROM:
        return f"{value:,.0f}"
    return f"{value:.3g}"
