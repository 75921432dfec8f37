"""The King James text, embedded: whole books held out, and parallel books on one side.

Samuel, Kings and Chronicles tell the same, and so do Matthew, Mark and Luke, often in the same
words: all of them are for training. The books that are held out share less than half a percent of
their runs of ten words with any other book.
"""

import lzma

from plasticrl.tasks.data import DataError
from plasticrl.tasks.language.config import KING_JAMES
from plasticrl.tasks.language.corpus import MAX_BYTES, Corpus, corpus, words

VALID = ("Est", "Prv", "Dan", "Acts")
TEST = ("Ruth", "Job", "Eccl", "John", "Rev")


def books() -> dict[str, str]:
    """The text of every book by its short name, in order: a line for each verse.

    Raises:
        DataError: the file is missing or has been altered.
    """
    return parse(decompress(KING_JAMES.read(), str(KING_JAMES.path)))


def king_james(max_words: int) -> Corpus:
    """The corpus: other books to validate, and again others to test on."""
    every = books()
    split: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for name, text in every.items():
        side = "valid" if name in VALID else "test" if name in TEST else "train"
        split[side] += words(text.encode(), name)
    return corpus(split["train"], split["valid"], split["test"], max_words)


def decompress(packed: bytes, name: str) -> bytes:
    """The contents of an xz file, at most ``MAX_BYTES``.

    Raises:
        DataError: it is damaged or cut short, or holds more.
    """
    unpack = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 28)
    try:
        contents = unpack.decompress(packed, MAX_BYTES + 1)
    except lzma.LZMAError as error:
        raise DataError(f"{name} is no xz file, or a damaged one: {error}") from error
    if len(contents) > MAX_BYTES:
        raise DataError(f"{name} unpacks to more than {MAX_BYTES:,} bytes")
    if not unpack.eof:
        raise DataError(f"{name} is cut short")
    return contents


def parse(contents: bytes) -> dict[str, str]:
    """The books of a text: lines of ``# legend``, ``= short name``, or a verse."""
    found: dict[str, list[str]] = {}
    verses: list[str] = []
    for line in contents.decode("utf-8").splitlines():
        if line.startswith("= "):
            verses = found.setdefault(line[2:], [])
        elif not line.startswith("#"):
            verses.append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}
