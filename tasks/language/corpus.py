"""Tokenization: words, a vocabulary, the Penn Treebank's files, and parallel streams of tokens.

Words are separated by white space. The end of a line is the word ``<eos>``, and a word outside the
vocabulary is ``<unk>``. Mikolov et al. 2010 prepared the Penn Treebank in this format: lower case,
no punctuation, numbers as ``N``, 10,000 words including ``<unk>`` and ``<eos>``.
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
"""Largest accepted text, about ten times the Penn Treebank."""
MAX_WORD_LENGTH = 1_000
"""Longest accepted word; a longer one indicates a binary file."""


class Corpus(NamedTuple):
    """The training, validation and test texts, with their common vocabulary."""

    train: Tensor
    """The index of each token in the vocabulary, (n,)."""
    valid: Tensor
    test: Tensor
    vocabulary: tuple[str, ...]


def words(contents: bytes, name: str) -> list[str]:
    """Split a text into its words, with ``<eos>`` at the end of each line.

    Args:
        contents: the text in UTF-8.
        name: the name of the text, for error messages.

    Raises:
        DataError: it is not a text, has no words, or it or one of its words is too long.
    """
    if len(contents) > MAX_BYTES:
        raise DataError(f"{name} is too large: {len(contents):,} bytes, at most {MAX_BYTES:,}")
    try:
        text = contents.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not a UTF-8 text: byte {error.start} is invalid") from error
    if "\0" in text:
        raise DataError(f"{name} is not a text: byte {contents.index(0)} is zero")
    result = [word for line in text.splitlines() for word in (*line.split(), EOS)]
    if all(word == EOS for word in result):
        raise DataError(f"{name} has no words")
    longest = max(result, key=len)
    if len(longest) > MAX_WORD_LENGTH:
        raise DataError(
            f"{name} is not a text of words: one has {len(longest):,} letters ({longest[:20]}...)"
        )
    return result


def corpus(train: list[str], valid: list[str], test: list[str], max_words: int) -> Corpus:
    """Build a vocabulary of the most frequent words of the training text, and encode all texts.

    Args:
        max_words: the largest size of the vocabulary, including ``<unk>`` and ``<eos>``.
    """
    counts = Counter(train)
    for word in (EOS, UNK):
        counts.pop(word, None)
    # Equally frequent words are sorted by spelling, so that their order in the text has no effect.
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    vocabulary = (UNK, EOS, *ranked[: max_words - 2])
    index = {word: position for position, word in enumerate(vocabulary)}

    def encode(text: list[str]) -> Tensor:
        return torch.tensor([index.get(word, 0) for word in text])

    return Corpus(encode(train), encode(valid), encode(test), vocabulary)


def penn_treebank(paths: Sequence[Path], max_words: int) -> Corpus:
    """Read the corpus from ``ptb.train.txt``, ``ptb.valid.txt`` and ``ptb.test.txt``.

    Raises:
        DataError: a file cannot be read, or ``words`` rejects it.
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
    """Cut a text (n,) into B equal streams (n // B, B). The last tokens, fewer than B, are dropped.

    Raises:
        DataError: the streams have fewer than two tokens, so that there is nothing to predict.
    """
    length = len(text) // n_streams
    if length < 2:
        raise DataError(
            f"the {name} text has {len(text):,} tokens, too few to cut it into {n_streams:,} parts"
        )
    return text[: length * n_streams].view(n_streams, length).T.contiguous()
