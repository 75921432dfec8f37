"""Build ``king_james.txt.xz`` from Debian's packages bible-kjv 4.38 and bible-kjv-text 4.38.

    apt-get download bible-kjv bible-kjv-text && for f in *.deb; do dpkg-deb -x $f unpacked; done
    unpacked/usr/bin/bible -f -p unpacked/usr/lib gen1:1-rev99:99 > verses.txt
    python -m tools.build_king_james verses.txt COPYRIGHT OUT.xz

Each line of verses.txt is like ``Ge1:1 In the beginning...``. The output has the packagers' legend
in lines that start with ``#``, a line like ``= Ge`` before each book, and one line per verse. Its
tokens are like the Penn Treebank's: lower case, no punctuation, the possessive as a separate token.
"""

import lzma
import re
import sys
from pathlib import Path

BOOK = re.compile(r"(.+?)\d+:\d+")


def tokens(verse: str) -> str:
    """``Jesus' sons, the LORD's.`` -> ``jesus ' sons the lord 's``"""
    text = re.sub(r"'s\b", " 's", verse.lower())
    text = re.sub(r"(?<=s)'(?=\W|$)", " '", text)
    return " ".join(re.sub(r"[^a-z' -]", " ", text).split())


def build(verses: str, legend: str) -> str:
    """The text of the output file."""
    lines = [f"# {line}".rstrip() for line in legend.splitlines()]
    book = ""
    for line in verses.splitlines():
        reference, verse = line.split(" ", 1)
        match = BOOK.fullmatch(reference)
        if match is None:
            raise SystemExit(f"not a verse: {line[:60]!r}")
        if match[1] != book:
            book = match[1]
            lines.append(f"= {book}")
        lines.append(tokens(verse))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    verses_file, legend_file, out = map(Path, sys.argv[1:])
    text = build(verses_file.read_text("ascii"), legend_file.read_text("ascii"))
    out.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
