"""Make ``king_james.txt.xz`` from Debian's packages bible-kjv 4.38 and bible-kjv-text 4.38.

    apt-get download bible-kjv bible-kjv-text && for f in *.deb; do dpkg-deb -x $f unpacked; done
    unpacked/usr/bin/bible -f -p unpacked/usr/lib gen1:1-rev99:99 > verses.txt
    python -m tools.build_king_james verses.txt COPYRIGHT OUT.xz

Each line of verses.txt is ``Ge1:1 In the beginning...``. What comes out has the packagers' legend
in lines that begin with ``#``, a line ``= Ge`` before each book, and one line for each verse, in
tokens like the Penn Treebank's: lower case, no punctuation, the possessive a token of its own.
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
    """The whole file's text."""
    lines = [f"# {line}".rstrip() for line in legend.splitlines()]
    before = ""
    for line in verses.splitlines():
        reference, verse = line.split(" ", 1)
        found = BOOK.fullmatch(reference)
        if found is None:
            raise SystemExit(f"not a verse: {line[:60]!r}")
        if found[1] != before:
            before = found[1]
            lines.append(f"= {before}")
        lines.append(tokens(verse))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    verses_file, legend_file, out = map(Path, sys.argv[1:])
    text = build(verses_file.read_text("ascii"), legend_file.read_text("ascii"))
    out.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
