"""The files of the pages: HTML, styles and scripts that are filled with data."""

import json
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any


def read(*names: str) -> str:
    """Return the text of the files in ``page/``, one after the other."""
    folder = resources.files("plasticrl.viewer").joinpath("page")
    return "\n".join(folder.joinpath(name).read_text("utf-8") for name in names)


def fill(
    page: str, styles: Sequence[str], scripts: Sequence[str], manifest: Any, **parts: str
) -> str:
    """Return the HTML of a page.

    Args:
        page: name of the HTML file.
        styles, scripts: names of the files that are its style and its script.
        manifest: the data for the script: dicts, lists, strings and finite numbers.
        parts: the HTML to put in place of each other ``$name`` in the file.
    """
    # Without "<", nothing can end the script element that holds the manifest.
    text = json.dumps(manifest, allow_nan=False).replace("<", "\\u003c")
    fixed = {"css": read(*styles), "script": read(*scripts), "manifest": text}
    return Template(read(page)).substitute(fixed, **parts)
