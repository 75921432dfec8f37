"""Measured rows as Markdown and JSON. Rows are plain dicts; keys are headings and name the unit."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

Value = str | int | float | None
Row = dict[str, Value]

NOTHING = "-"
WHOLE_FROM = 1000
"""Numbers from here on are shown without decimals, smaller ones with three digits."""


@dataclass(frozen=True)
class Table:
    """Rows with the same keys, and what one must know to read them."""

    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Finished:
    """One benchmark's results."""

    title: str
    seconds: float
    tables: Sequence[Table]


@dataclass
class Report:
    """Everything that is written down, benchmark by benchmark."""

    command: str
    commit: str | None
    date: str
    quick: bool
    repeat: int
    machine: dict[str, str]
    benchmarks: dict[str, Finished] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """``benchmarks.json`` and ``benchmarks.md`` in the folder, in place of older ones."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        _replace(folder / "benchmarks.json", text)
        _replace(folder / "benchmarks.md", self.markdown())

    def markdown(self) -> str:
        """The whole report."""
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
    """One benchmark: its tables, each with its notes."""
    parts = [f"## {name}: {finished.title}"]
    for table in finished.tables:
        parts += [f"**{table.title}**", markdown_table(table.rows)]
        parts += ["\n".join(f"- {note}" for note in table.notes)] if table.notes else []
    return "\n\n".join(parts)


def markdown_table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table, numbers to the right.

    Raises:
        ValueError: if the rows do not have the same keys in the same order.
    """
    if not rows:
        return "Nothing was measured."
    headings = list(rows[0])
    for row in rows:
        if list(row) != headings:
            raise ValueError(f"rows must have the same keys: {list(row)} is not {headings}")
    rule = ["---" if _is_text(rows, heading) else "---:" for heading in headings]
    cells = [[_shown(value) for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [headings, rule, *cells])


def _is_text(rows: Sequence[Row], heading: str) -> bool:
    return any(isinstance(row[heading], str) for row in rows)


def _shown(value: Value) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return value.replace("|", "\\|")
    if isinstance(value, int) or abs(value) >= WHOLE_FROM:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _replace(path: Path, text: str) -> None:
    """All of the new file or the old one, never a part."""
    fresh = path.with_name(path.name + ".tmp")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)
