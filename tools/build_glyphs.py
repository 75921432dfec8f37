"""Build the sheet of glyphs from the DejaVu Sans that comes with matplotlib.

    python -m tools.build_glyphs

Writes ``glyphs.png`` and ``glyphs.json`` beside this file and prints their sha256, which stand in
``config``. Both are committed and this is not run again, so that another font moves no result.

A class is a base letter: no combination that Unicode takes apart, no modifier. Those that look like
an earlier one are left out, whichever of the two is turned by quarters: turned classes count as
classes of their own. A script gives at most ``MOST`` classes, spread evenly over its letters.
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
"""The longer side of every glyph, in pixels of the sheet."""
FONT_SIZE = 160
MOST = 250
BLUR = 1.0
"""Of the comparison, in pixels of the sheet."""
LOOK_ALIKE = 0.95
"""Cosine of two blurred glyphs from which the second is left out."""
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
"""By the beginning of the characters' Unicode names. The first six share many shapes."""
HELD_OUT = list(SCRIPTS.values())[7:]


def main() -> None:
    """Write the sheet and its index."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    scripts = {name: _capped(kept) for name, kept in _distinct(path).items() if kept}
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
    """Letters by script, each with its cell of the sheet, without look-alikes."""
    font = ImageFont.truetype(path, FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
    kept: dict[str, list[tuple[str, Image.Image]]] = {name: [] for name in SCRIPTS.values()}
    seen = np.zeros((0, CELL * CELL))
    for letter in _letters(path):
        cell = _render(font, letter)
        blurred = np.asarray(cell.filter(ImageFilter.GaussianBlur(BLUR)), float)
        turned = np.stack([np.rot90(blurred, quarter).ravel() for quarter in range(4)])
        turned /= np.linalg.norm(turned, axis=1, keepdims=True)
        if len(seen) and (seen @ turned.T).max() > LOOK_ALIKE:
            continue
        seen = np.vstack([seen, turned[:1]])
        kept[_script(letter)].append((letter, cell))
    return kept


def _letters(path: Path) -> list[str]:
    """Base letters of the font, in the order of the scripts and of their codes."""
    order = {name: position for position, name in enumerate([*SCRIPTS.values(), ""])}
    found = [
        letter
        for letter in map(chr, TTFont(path).getBestCmap())
        if unicodedata.category(letter) in ("Lu", "Ll", "Lt", "Lo")
        and not unicodedata.decomposition(letter)
        and _script(letter)
    ]
    return sorted(found, key=lambda letter: (order[_script(letter)], letter))


def _script(letter: str) -> str:
    """The script's name, empty where it is none of ours."""
    name = unicodedata.name(letter, "")
    return next((SCRIPTS[start] for start in SCRIPTS if name.startswith(f"{start} ")), "")


def _render(font: ImageFont.FreeTypeFont, letter: str) -> Image.Image:
    """A letter, its longer side BOX, in the middle of a cell."""
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


def _capped(kept: list[tuple[str, Image.Image]]) -> list[tuple[str, Image.Image]]:
    """At most MOST of them, evenly spread."""
    chosen: NDArray[np.int64] = np.linspace(0, len(kept) - 1, min(MOST, len(kept))).astype(int)
    return [kept[position] for position in chosen]


if __name__ == "__main__":
    main()
