"""Rows become a Markdown table that people can read, and nothing is lost in JSON."""

import json
from pathlib import Path

import pytest
from benchmarks.report import Finished, Report, Row, Table, markdown_table

ROWS: list[Row] = [
    {"cell": "gru", "N": 64, "time [ms]": 12345.6, "ratio": 1.23456},
    {"cell": "a|b", "N": 1000, "time [ms]": 0.05, "ratio": None},
]
MARKDOWN = """\
| cell | N | time [ms] | ratio |
| --- | ---: | ---: | ---: |
| gru | 64 | 12,346 | 1.23 |
| a\\|b | 1,000 | 0.05 | - |"""


def test_a_table_by_hand() -> None:
    assert markdown_table(ROWS) == MARKDOWN


def test_rows_with_other_keys_are_refused() -> None:
    """Otherwise their values are under the wrong headings."""
    with pytest.raises(ValueError, match="same keys"):
        markdown_table([{"a": 1, "b": 2}, {"b": 1, "a": 2}])


def test_a_benchmark_that_could_not_measure_says_why() -> None:
    report = _report({"lstm": Finished("A title", 0.5, [Table("Table", [], ("not installed",))])})
    assert report.markdown().endswith("**Table**\n\nNothing was measured.\n\n- not installed\n")


def test_both_files_are_written_in_place_of_older_ones(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.md").write_text("old")
    _report({"envs": Finished("A title", 0.5, [Table("Table", ROWS)])}).write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"benchmarks.json", "benchmarks.md"}
    text = (tmp_path / "benchmarks.md").read_text()
    assert text.startswith("# Benchmarks")
    assert "## envs: A title" in text
    assert MARKDOWN in text
    content = json.loads((tmp_path / "benchmarks.json").read_text())
    assert content["machine"] == {"CPU": "abacus"}
    assert content["benchmarks"]["envs"]["tables"][0]["rows"] == ROWS


def _report(benchmarks: dict[str, Finished]) -> Report:
    return Report("command", None, "today", True, 1, {"CPU": "abacus"}, benchmarks)
