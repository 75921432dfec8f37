"""Text as numbers: the words of a text, a vocabulary, the Penn Treebank's files, parallel streams.

A text is words between white space; a line's end is the word ``<eos>``. Words that the vocabulary
does not have are ``<unk>``. Mikolov et al. 2010 prepared the Penn Treebank so: lower case, without
punctuation, numbers as ``N``, 10,000 words with ``<unk>`` and ``<eos>``.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from plasticrl.tasks.data import DataError

EOS, UNK = "<eos>", "<unk>"
MAX_BYTES = 1 << 26
"""Of a text: ten times the Penn Treebank."""
MAX_LETTERS = 1_000
"""Of a word: no language has such, a binary file does."""


class Corpus(NamedTuple):
    """Three texts in one vocabulary."""

    train: Tensor
    """(n,), each token's position in the vocabulary."""
    valid: Tensor
    test: Tensor
    vocabulary: tuple[str, ...]


def words(contents: bytes, name: str) -> list[str]:
    """The words of a text, with an ``<eos>`` for each line.

    Args:
        contents: UTF-8.
        name: of the text, for the message.

    Raises:
        DataError: it is no text, has no word or a monstrous one, or is too large.
    """
    if len(contents) > MAX_BYTES:
        raise DataError(f"{name} is too large: {len(contents):,} bytes, at most {MAX_BYTES:,}")
    try:
        text = contents.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is no UTF-8 text: byte {error.start} is not") from error
    if "\0" in text:
        raise DataError(f"{name} is no text: byte {contents.index(0)} is zero")
    found = [word for line in text.splitlines() for word in (*line.split(), EOS)]
    if all(word == EOS for word in found):
        raise DataError(f"{name} has no words")
    longest = max(found, key=len)
    if len(longest) > MAX_LETTERS:
        raise DataError(
            f"{name} is no text of words: one has {len(longest):,} letters ({longest[:20]}...)"
        )
    return found


def corpus(train: list[str], valid: list[str], test: list[str], max_words: int) -> Corpus:
    """The texts in the vocabulary of the most frequent words of the first.

    Args:
        max_words: how many, ``<unk>`` and ``<eos>`` among them.
    """
    counts = Counter(train)
    for word in (EOS, UNK):
        counts.pop(word, None)
    # By their spelling where they are as frequent, so that nothing depends on the texts' order.
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    vocabulary = (UNK, EOS, *ranked[: max_words - 2])
    number = {word: position for position, word in enumerate(vocabulary)}

    def numbered(text: list[str]) -> Tensor:
        return torch.tensor([number.get(word, 0) for word in text])

    return Corpus(numbered(train), numbered(valid), numbered(test), vocabulary)


def penn_treebank(paths: Sequence[Path], max_words: int) -> Corpus:
    """The corpus of ``ptb.train.txt``, ``ptb.valid.txt`` and ``ptb.test.txt``.

    Raises:
        DataError: a file cannot be read, or ``words`` refuses it.
    """
    texts = []
    for path in paths:
        try:
            with path.open("rb") as file:
                contents = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        texts.append(words(contents, str(path)))
    train, valid, test = texts
    return corpus(train, valid, test, max_words)


def streams(text: Tensor, n_streams: int, name: str) -> Tensor:
    """A text (n,) cut into B equal parts side by side, (n // B, B); less than B tokens are left.

    Raises:
        DataError: the parts have less than two tokens, and so nothing to predict.
    """
    length = len(text) // n_streams
    if length < 2:
        raise DataError(
            f"the {name} text has {len(text):,} tokens, too few to cut it into {n_streams:,} parts"
        )
    return text[: length * n_streams].view(n_streams, length).T.contiguous()
