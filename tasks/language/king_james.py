"""The embedded text of the King James Bible, with whole books held out.

Samuel, Kings and Chronicles describe the same events, often in the same words, and so do Matthew,
Mark and Luke. All of these are in the training text. The held-out books share less than half a
percent of their sequences of ten words with any other book.
"""

import lzma

from plasticrl.tasks.data import DataError
from plasticrl.tasks.language.config import KING_JAMES
from plasticrl.tasks.language.corpus import MAX_BYTES, Corpus, corpus, words

VALID = ("Est", "Prv", "Dan", "Acts")
TEST = ("Ruth", "Job", "Eccl", "John", "Rev")


def books() -> dict[str, str]:
    """The text of each book by its short name, in order, with one line per verse.

    Raises:
        DataError: the file is missing or has been altered.
    """
    return parse(decompress(KING_JAMES.read(), str(KING_JAMES.path)))


def king_james(max_words: int) -> Corpus:
    """The corpus, with different books for training, validation and test."""
    split: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for name, text in books().items():
        part = "valid" if name in VALID else "test" if name in TEST else "train"
        split[part] += words(text.encode(), name)
    return corpus(split["train"], split["valid"], split["test"], max_words)


def decompress(packed: bytes, name: str) -> bytes:
    """Decompress an xz file of at most ``MAX_BYTES``.

    Raises:
        DataError: it is damaged, incomplete or too large.
    """
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 28)
    try:
        contents = decompressor.decompress(packed, MAX_BYTES + 1)
    except lzma.LZMAError as error:
        raise DataError(f"{name} is not an xz file, or is damaged: {error}") from error
    if len(contents) > MAX_BYTES:
        raise DataError(f"{name} unpacks to more than {MAX_BYTES:,} bytes")
    if not decompressor.eof:
        raise DataError(f"{name} is incomplete")
    return contents


def parse(contents: bytes) -> dict[str, str]:
    """Split a text into books; a line is ``# legend``, ``= short name``, or a verse."""
    result: dict[str, list[str]] = {}
    verses: list[str] = []
    for line in contents.decode("utf-8").splitlines():
        if line.startswith("= "):
            verses = result.setdefault(line[2:], [])
        elif not line.startswith("#"):
            verses.append(line)
    return {name: "\n".join(lines) for name, lines in result.items()}
