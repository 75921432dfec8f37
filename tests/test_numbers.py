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
    "docs/live.md": "22 31 80",
    "docs/report.md": "5 63 255 80",
    "docs/rl_zoo3.md": "40",
    "docs/sb3.md": "0.0007 0.0015 0.0003 0.001",
    "docs/sweep.md": "15 95 0.001 9,11 64 64,32",
    "docs/tasks.md": """
        .0017 4.3 4.8 30 37 48 256 120,000 500,000 62.60
        1609.02228 2016 1804.02464 2002.10585 4.2 4.4 1610.06258 2206.14048 2302.03235 2023
        38.35 156,250 1,025 2,733 707 201 1,092 548 544 32,460 1,623 5,000,000 24,221,600 31,102
        98.3 104.26 103.80 102.65 102.48 62.48 62.40 61.44 61.37 61.68
    """,
    "docs/watching.md": "24 40 127 95 80 1,000 2,000 3,000",
    "docs/concepts.md": "0 1 2025",
    "docs/papers.md": ".0017 250 2016 2018 98.3 2019 104.26 102.48 103.80 62.48 61.44",
    "docs/tutorials/first_agent.md": "3.11 95",
    "docs/tutorials/look_inside.md": "2 200",
    "docs/tutorials/memory.md": "40 1 8 16",
    "docs/tutorials/own_pipeline.md": "5 18.5 0 1 2 3 40",
}


def numbers(text: str) -> list[str]:
    """The numbers of a text, as they are written, without the commas of thousands."""
    return [number.replace(",", "").rstrip(".") for number in NUMBER.findall(text)]


def linked_values(page: Path) -> list[float]:
    """All numbers in the files in results/ that a page links to, sorted."""
    linked = {(page.parent / link).resolve() for link in LINK.findall(page.read_text())}
    texts = [path.read_text() for path in linked if path.is_file() and path.suffix != ".png"]
    return sorted(float(number) for text in texts for number in numbers(text))


def is_traced(number: str, values: list[float], in_percent: bool = False) -> bool:
    """Whether a value rounds to the number, or a hundred times it if the number is a percentage.

    Whole numbers below 100 must be equal: nearly all of them are a rounded value of some page.
    """
    decimals = len(number.partition(".")[2])
    half = 0.5 * 10.0**-decimals if decimals or float(number) >= 100 else 0.0
    for scale in (1, 100) if in_percent else (1,):
        half_here = half if scale == 1 else 0.5 * 10.0**-decimals
        low, high = (float(number) - half_here) / scale, (float(number) + half_here) / scale
        index = bisect.bisect_left(values, low - 1e-9)
        if index < len(values) and values[index] <= high + 1e-9:
            return True
    return False


def untraced(page: Path) -> list[str]:
    """The numbers of a page that are in no file in results/ to which it links."""
    values, text = linked_values(page), NOT_TEXT.sub("", page.read_text())
    return [
        number
        for line in text.splitlines()
        for number in numbers(line)
        if not is_traced(number, values, in_percent="%" in line)
    ]


def listed(page: Path) -> list[str]:
    """The numbers of ``NOT_MEASURED``."""
    return NOT_MEASURED.get(str(page.relative_to(ROOT)), "").replace(",", "").split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_measured_number_is_in_results(page: Path) -> None:
    """Otherwise a page claims what nobody has measured, or what has changed since."""
    unknown = [number for number in untraced(page) if number not in listed(page)]
    assert not unknown, f"link the file in results/ that has {', '.join(unknown)}, or list them"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_list_has_only_numbers_that_need_it(page: Path) -> None:
    """Otherwise the list grows, and hides a measured number that has lost its source."""
    assert set(listed(page)) <= set(untraced(page))


@pytest.mark.parametrize(
    ("number", "value", "traced"),
    [
        ("344.5", 344.5, True),
        ("345", 344.5, True),
        ("345", 345.6, False),
        (".75", 0.745, True),
        (".75", 0.744, False),
        ("84.1 %", 0.841, True),
        ("84.1", 0.841, False),
        ("84 %", 0.846, False),
        ("85 %", 0.846, True),
        ("7", 7.2, False),
        ("7", 7.0, True),
    ],
)
def test_a_number_is_traced_to_a_value_that_rounds_to_it(
    number: str, value: float, traced: bool
) -> None:
    assert is_traced(number.removesuffix(" %"), [value], "%" in number) == traced
