"""Every measured number in the README and in docs/ is in a file in results/ that the page links to.

The others are settings, sizes, names and examples, which ``NOT_MEASURED`` lists for each page.
"""

import bisect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NUMBER = re.compile(r"(?<![\w.^#/-])(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?![\w/]|\.\d)")
NOT_TEXT = re.compile(
    r"^```.*?^```"  # programs
    r"|`[^`\n]*`"  # code
    r"|<!--.*?-->"
    r"|^#+ \d+\. "  # the number of a heading
    r"|(?<=\])\([^)]*\)"  # where a link leads to
    r"|(?<=\])\{[^}]*\}",
    re.DOTALL | re.MULTILINE,
)
LINK = re.compile(r"\]\(([^)#\s]*results/[^)#\s]+)")
# Years and numbers of papers and their sections, results of the papers, settings, sizes, issues.
NOT_MEASURED = {
    "README.md": "2016 1609.02228 2018 1804.02464 2019 2002.10585",
    "docs/check_recurrent.md": "1 102 200 284 285",
    "docs/export.md": "255",
    "docs/live.md": "31 80",
    "docs/report.md": "5 255 80",
    "docs/rl_zoo3.md": "40",
    "docs/sb3.md": "0.0007 0.0015 0.0003 0.001",
    "docs/sweep.md": "15 95 0.001 9,11 64 64,32",
    "docs/tasks.md": """
        1609.02228 2016 1804.02464 2002.10585 4.2 4.4 1610.06258 2206.14048 2302.03235 2023
        38.35 156,250 1,025 2,733 707 201 1,092 548 544 32,460 1,623 5,000,000 24,221,600 31,102
        98.3 104.26 103.80 102.65 102.48 62.48 62.40 61.44 61.37 61.68
    """,
    "docs/watching.md": "40 127 95 120 80",
    "docs/concepts.md": "0 2025",
    "docs/papers.md": "2016 2018 98.3 2019 104.26 102.48 103.80 62.48 61.44",
    "docs/tutorials/first_agent.md": "3.11 95",
    "docs/tutorials/look_inside.md": "2 200",
    "docs/tutorials/memory.md": "40 1 8 16",
    "docs/tutorials/own_pipeline.md": "5 18.5 0 1 2 3 40",
}


def numbers(text: str) -> list[str]:
    """The numbers of a text, as they are written, without the commas of thousands."""
    return [number.replace(",", "").rstrip(".") for number in NUMBER.findall(text)]


def linked_values(page: Path) -> list[float]:
    """All numbers in the files in results/ that a page links to, sorted.

    A table of ``benchmarks.papers`` has its numbers in a .json of the same name.
    """
    linked = {(page.parent / link).resolve() for link in LINK.findall(page.read_text())}
    linked |= {path.with_suffix(suffix) for path in linked for suffix in (".json", ".jsonl")}
    texts = [path.read_text() for path in linked if path.is_file() and path.suffix != ".png"]
    return sorted(float(number) for text in texts for number in numbers(text))


def is_traced(number: str, values: list[float]) -> bool:
    """Whether a value, or a hundred times it, rounds to the number."""
    half = 0.5 * 10.0 ** -len(number.partition(".")[2])
    for scale in (1, 100):
        low, high = (float(number) - half) / scale, (float(number) + half) / scale
        index = bisect.bisect_left(values, low - 1e-9)
        if index < len(values) and values[index] <= high + 1e-9:
            return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_measured_number_is_in_results(page: Path) -> None:
    """Otherwise a page claims what nobody has measured, or what has changed since."""
    values = linked_values(page)
    others = NOT_MEASURED.get(str(page.relative_to(ROOT)), "").replace(",", "").split()
    text = NOT_TEXT.sub("", page.read_text())
    unknown = [n for n in numbers(text) if n not in others and not is_traced(n, values)]
    assert not unknown, f"link the file in results/ that has {', '.join(unknown)}, or list them"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_list_has_only_numbers_that_need_it(page: Path) -> None:
    """Otherwise the list grows, and hides a measured number that has lost its source."""
    others = NOT_MEASURED.get(str(page.relative_to(ROOT)), "").replace(",", "").split()
    found = numbers(NOT_TEXT.sub("", page.read_text()))
    values = linked_values(page)
    assert [n for n in others if n not in found or is_traced(n, values)] == []


@pytest.mark.parametrize(
    ("number", "value", "traced"),
    [
        ("344.5", 344.5, True),
        ("345", 344.5, True),
        ("345", 345.6, False),
        (".75", 0.745, True),
        (".75", 0.744, False),
        ("84.1", 0.841, True),
        ("84", 0.846, False),
    ],
)
def test_a_number_is_traced_to_a_value_that_rounds_to_it(
    number: str, value: float, traced: bool
) -> None:
    assert is_traced(number, [value]) == traced
