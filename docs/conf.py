"""The documentation site: ``make docs`` builds it with Sphinx from the Markdown pages.

The source directory is the repository's root, so that links between docs/, results/ and the root
work on the site as they do in the repository.
"""

import re
from collections.abc import Iterable, Iterator
from importlib import import_module

from docutils import nodes
from sphinx.application import Sphinx

project = "plasticrl"
author = "The plasticrl authors"
html_title = project
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "results/**.md", "tasks/*/ATTRIBUTION.md"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_heading_anchors = 4
highlight_language = "text"  # of blocks that name no language

# Warnings are errors, but not nitpicky: without a network there is no list of torch's, NumPy's,
# Gymnasium's and SB3's classes, to which most of the types in signatures belong.
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 120
napoleon_numpy_docstring = False
napoleon_use_ivar = True

LAZY_PACKAGES = ("plasticrl.core", "plasticrl.agents", "plasticrl.runs")
"""Packages that import some names on first use; autodoc sees only what has been imported."""
SECTION = re.compile(r"[A-Z]\w+:$")
"""The beginning of a section such as ``Args:``, whose content is indented."""


def import_lazy_names() -> None:
    """Import all public names of the packages that import them on first use."""
    for package in map(import_module, LAZY_PACKAGES):
        vars(package).update({name: getattr(package, name) for name in package.__all__})


def to_rst(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Turn a docstring's Markdown headings, tables and indented blocks into reStructuredText."""
    if lines and lines[0].startswith("Alias for field number"):  # NamedTuple's own docstring
        lines.clear()
    lines[:] = [*literal_blocks(tables(headings(lines)))]


def headings(lines: Iterable[str]) -> Iterator[str]:
    """Turn ``## Title`` into a rubric."""
    for line in lines:
        yield from ([f".. rubric:: {line[3:]}", ""] if line.startswith("## ") else [line])


def tables(lines: Iterable[str]) -> Iterator[str]:
    """Turn ``| a | b |`` into a table whose first row is its heading."""
    inside = False
    for line in lines:
        is_row = line.startswith("| ")
        if is_row and not inside:
            yield from (".. csv-table::", "   :delim: |", "   :header-rows: 1", "   :quote: `", "")
        inside = is_row or line.startswith("|--")
        if not line.startswith("|--"):
            yield f"   {line.strip('| ')}" if is_row else line


def literal_blocks(lines: Iterable[str]) -> Iterator[str]:
    """Mark an indented block after a paragraph, such as an equation, as literal."""
    previous = last_text = ""
    for line in lines:
        begins = line.startswith("    ") and not previous and last_text[:1].isalnum()
        if begins and not SECTION.match(last_text):
            yield from ("::", "")
        yield line
        previous, last_text = line, line or last_text


def theme_pictures(app: Sphinx, document: nodes.document) -> None:
    """Turn ``<picture>``, which has a light and a dark version, into Furo's two images."""
    for raw in [*document.findall(nodes.raw)]:
        if raw.rawsource.startswith("<picture>"):
            alt = re.findall(r'alt="(.*?)"', raw.rawsource, re.S)[0]
            dark, light = re.findall(r'(?:srcset|src)="(.*?)"', raw.rawsource)
            raw.parent.replace(
                raw,
                [
                    nodes.image(uri=uri, alt=alt, classes=[f"only-{theme}"])
                    for theme, uri in (("light", light), ("dark", dark))
                ],
            )


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    import_lazy_names()
    app.connect("autodoc-process-docstring", to_rst, priority=400)  # before napoleon
    app.connect("doctree-read", theme_pictures, priority=400)  # before Sphinx collects the images
