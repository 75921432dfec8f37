"""Build the image file of glyphs from the font DejaVu Sans that comes with matplotlib.

    python -m tools.build_glyphs

It writes ``glyphs.png`` and ``glyphs.json`` into ``tasks/omniglot`` and prints their sha256 for
``config.py`` there. Both are committed and not built again, so that a new font changes no result.

A class is a base letter, without those that Unicode decomposes and without modifiers. A letter is
left out if it resembles an earlier one at any rotation by a multiple of 90 degrees, since rotated
letters are classes of their own. A script has at most ``MAX_PER_SCRIPT`` classes, spread evenly
over its letters.
"""

import hashlib
import json
import unicodedata
from pathlib import Path

import matplotlib
import numpy as np
from fontTools.ttLib import TTFont
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from plasticrl.tasks.omniglot.glyphs import CELL, COLUMNS

FOLDER = Path(__file__).parents[1] / "tasks" / "omniglot"
BOX = 30
"""The longer side of every glyph in pixels of the file."""
FONT_SIZE = 160
MAX_PER_SCRIPT = 250
BLUR = 1.0
"""Standard deviation of the blur before two glyphs are compared, in pixels of the file."""
MAX_SIMILARITY = 0.95
"""Cosine similarity of two blurred glyphs above which the second is left out."""
SCRIPTS = {
    "LATIN": "Latin",
    "GREEK": "Greek",
    "COPTIC": "Coptic",
    "CYRILLIC": "Cyrillic",
    "OLD ITALIC": "Old Italic",
    "LISU": "Lisu",
    "ARABIC": "Arabic",
    "ARMENIAN": "Armenian",
    "GEORGIAN": "Georgian",
    "HEBREW": "Hebrew",
    "LAO": "Lao",
    "NKO": "N'Ko",
    "OGHAM": "Ogham",
    "TIFINAGH": "Tifinagh",
    "CANADIAN SYLLABICS": "Canadian syllabics",
}
"""Names of the scripts by the prefix of the letters' Unicode names. The first six share shapes."""
HELD_OUT = list(SCRIPTS.values())[7:]


def main() -> None:
    """Write the image file and its index."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    scripts = {name: _limited(kept) for name, kept in _distinct(path).items() if kept}
    glyphs = [cell for kept in scripts.values() for _, cell in kept]
    sheet = Image.new("L", (COLUMNS * CELL, -(-len(glyphs) // COLUMNS) * CELL))
    for position, cell in enumerate(glyphs):
        sheet.paste(cell, (position % COLUMNS * CELL, position // COLUMNS * CELL))
    sheet.save(FOLDER / "glyphs.png", optimize=True)
    index = [
        {
            "name": name,
            "held_out": name in HELD_OUT,
            "letters": "".join(letter for letter, _ in kept),
        }
        for name, kept in scripts.items()
    ]
    text = json.dumps(index, ensure_ascii=False, indent=1) + "\n"
    (FOLDER / "glyphs.json").write_text(text, encoding="utf-8")
    for name in ("glyphs.png", "glyphs.json"):
        print(name, hashlib.sha256((FOLDER / name).read_bytes()).hexdigest())


def _distinct(path: Path) -> dict[str, list[tuple[str, Image.Image]]]:
    """The letters of each script with their images, without those that resemble an earlier one."""
    font = ImageFont.truetype(path, FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
    kept: dict[str, list[tuple[str, Image.Image]]] = {name: [] for name in SCRIPTS.values()}
    seen = np.zeros((0, CELL * CELL))
    for letter in _letters(path):
        cell = _render(font, letter)
        blurred = np.asarray(cell.filter(ImageFilter.GaussianBlur(BLUR)), float)
        rotated = np.stack([np.rot90(blurred, quarter).ravel() for quarter in range(4)])
        rotated /= np.linalg.norm(rotated, axis=1, keepdims=True)
        if len(seen) and (seen @ rotated.T).max() > MAX_SIMILARITY:
            continue
        seen = np.vstack([seen, rotated[:1]])
        kept[_script(letter)].append((letter, cell))
    return kept


def _letters(path: Path) -> list[str]:
    """The base letters of the font, sorted by script and code point."""
    order = {name: position for position, name in enumerate([*SCRIPTS.values(), ""])}
    letters = [
        letter
        for letter in map(chr, TTFont(path).getBestCmap())
        if unicodedata.category(letter) in ("Lu", "Ll", "Lt", "Lo")
        and not unicodedata.decomposition(letter)
        and _script(letter)
    ]
    return sorted(letters, key=lambda letter: (order[_script(letter)], letter))


def _script(letter: str) -> str:
    """The name of a letter's script, or an empty string if the script is not in ``SCRIPTS``."""
    name = unicodedata.name(letter, "")
    return next((SCRIPTS[start] for start in SCRIPTS if name.startswith(f"{start} ")), "")


def _render(font: ImageFont.FreeTypeFont, letter: str) -> Image.Image:
    """Draw a letter in the center of a cell, scaled so that its longer side is ``BOX``."""
    left, top, right, bottom = font.getbbox(letter)
    glyph = Image.new("L", (round(right - left), round(bottom - top)))
    ImageDraw.Draw(glyph).text((-left, -top), letter, font=font, fill=255)
    glyph = glyph.crop(glyph.getbbox())
    scale = BOX / max(glyph.size)
    width, height = (max(1, round(side * scale)) for side in glyph.size)
    glyph = glyph.resize((width, height), Image.Resampling.LANCZOS)
    cell = Image.new("L", (CELL, CELL))
    cell.paste(glyph, ((CELL - width) // 2, (CELL - height) // 2))
    return cell


def _limited(kept: list[tuple[str, Image.Image]]) -> list[tuple[str, Image.Image]]:
    """Choose at most ``MAX_PER_SCRIPT`` letters, evenly spread."""
    chosen: NDArray[np.int64] = np.linspace(
        0, len(kept) - 1, min(MAX_PER_SCRIPT, len(kept))
    ).astype(int)
    return [kept[position] for position in chosen]


if __name__ == "__main__":
    main()
