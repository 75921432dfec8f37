"""The Penn Treebank's format on a tiny data set, hostile files, the embedded text and its split."""

import hashlib
import lzma
import math
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor

from plasticrl.tasks.data import DataError
from plasticrl.tasks.language import corpus as corpora
from plasticrl.tasks.language import king_james as bible
from plasticrl.tasks.language.config import KING_JAMES, PENN_TREEBANK, LanguageConfig
from plasticrl.tasks.language.corpus import (
    EOS,
    MAX_BYTES,
    UNK,
    corpus,
    penn_treebank,
    streams,
    words,
)
from plasticrl.tasks.language.synthetic import N_WORDS, chain, synthetic
from plasticrl.tasks.language.task import Language, load

# As in the real files: a space at both ends of a line, <unk> and N within.
TRAIN = b" the board of <unk> N years is old \n the old board \n"
VALID = b" the new board of N \n"
TEST = b" old years \n the chairman is <unk> \n"


@pytest.fixture
def tiny(tmp_path: Path) -> list[Path]:
    paths = []
    for name, contents in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
        paths.append(tmp_path / f"ptb.{name}.txt")
        paths[-1].write_bytes(contents)
    return paths


def read_back(text: Tensor, vocabulary: tuple[str, ...]) -> str:
    return " ".join(vocabulary[number] for number in text.tolist())


def test_the_penn_treebank_format(tiny: list[Path]) -> None:
    """Otherwise sentences are joined, or words of the test text are in the vocabulary."""
    found = penn_treebank(tiny, 10_000)
    assert read_back(found.train, found.vocabulary) == (
        "the board of <unk> N years is old <eos> the old board <eos>"
    )
    assert read_back(found.valid, found.vocabulary) == "the <unk> board of N <eos>"
    assert read_back(found.test, found.vocabulary) == "old years <eos> the <unk> is <unk> <eos>"
    # Most frequent first, then by spelling; <unk> and <eos> once each.
    assert found.vocabulary == (UNK, EOS, "board", "old", "the", "N", "is", "of", "years")
    assert penn_treebank(tiny, 5).vocabulary == (UNK, EOS, "board", "old", "the")


def test_an_altered_or_truncated_file_is_not_the_real_one(tiny: list[Path]) -> None:
    """Otherwise a perplexity is attributed to the wrong text. The files have other checksums."""
    config = LanguageConfig(data="penn-treebank", data_root=str(tiny[0].parent))
    with pytest.raises(DataError, match=r"ptb.train.txt is not the Penn Treebank file: its md5"):
        load(config)
    tiny[1].unlink()
    files = tuple(
        file._replace(md5=hashlib.md5(contents, usedforsecurity=False).hexdigest())
        for file, contents in zip(PENN_TREEBANK.files, (TRAIN, VALID, TEST), strict=True)
    )
    known = PENN_TREEBANK._replace(files=files)
    with pytest.raises(DataError, match=r"there is no file .*ptb.valid.txt .*data=king-james"):
        known.find(str(tiny[0].parent))
    tiny[1].write_bytes(VALID[:-3])
    with pytest.raises(DataError, match=r"ptb.valid.txt is not the Penn Treebank file"):
        known.find(str(tiny[0].parent))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "has no words"),
        (b" \n \n\n", "has no words"),
        (b"the \xff old", "is not a UTF-8 text: byte 4 is invalid"),
        (b"\xff\xfet\x00h\x00e\x00", "is not a UTF-8 text: byte 0"),
        (b"the\0old", "is not a text: byte 3 is zero"),
        (b"the " + b"x" * 2_000, "is not a text of words: one has 2,000 letters"),
    ],
)
def test_a_file_that_is_no_text_is_named(contents: bytes, message: str, tiny: list[Path]) -> None:
    """Otherwise the user reads a traceback, or a net is trained on garbage."""
    tiny[2].write_bytes(contents)
    with pytest.raises(DataError, match=f"ptb.test.txt {message}") as caught:
        penn_treebank(tiny, 100)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_or_is_too_large_is_named(tiny: list[Path]) -> None:
    """Otherwise the file fills the memory before it is refused."""
    with patch.object(corpora, "MAX_BYTES", 20), pytest.raises(DataError, match="is too large"):
        penn_treebank(tiny, 100)
    tiny[0].unlink()
    tiny[0].mkdir()
    with pytest.raises(DataError, match=r"cannot read .*ptb.train.txt"):
        penn_treebank(tiny, 100)


def test_streams_are_parts_of_the_text_side_by_side() -> None:
    """By hand. Otherwise a stream is not a continuous part of the text."""
    assert streams(torch.arange(11), 3, "test").tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    with pytest.raises(DataError, match="the test text has 11 tokens, too few to cut it into 6"):
        streams(torch.arange(11), 6, "test")


def test_the_embedded_text_is_the_whole_king_james() -> None:
    """It has the known numbers of books and verses. Otherwise some are missing."""
    books = bible.books()
    assert len(books) == 66
    assert sum(len(text.splitlines()) for text in books.values()) == 31_102
    assert books["Ge"].startswith("in the beginning god created the heaven and the earth\n")
    assert "jesus wept" in books["John"].splitlines()
    assert "the lord is my shepherd i shall not want" in books["Psa"].splitlines()
    assert books["Rev"].endswith("the grace of our lord jesus christ be with you all amen")
    assert 700_000 < KING_JAMES.path.stat().st_size < 1_100_000


def test_the_packagers_legend_is_included() -> None:
    """The packagers require it. It is in the file and in ``ATTRIBUTION.md``."""
    contents = bible.decompress(KING_JAMES.read(), "it").decode()
    attribution = (KING_JAMES.path.parent / "ATTRIBUTION.md").read_text()
    for line in (
        "This file is provided for unrestricted use provided that this",
        "The copyright for the King James Version text of the Bible is expired since",
    ):
        assert line in contents
        assert line in attribution


def test_whole_books_are_held_out_and_parallel_ones_are_not() -> None:
    """Otherwise the training has the test text from a parallel book, such as Mark in Luke."""
    books = bible.books()
    assert set(bible.VALID) | set(bible.TEST) < books.keys()
    assert not set(bible.VALID) & set(bible.TEST)
    parallel = {"1Sm", "2Sm", "1Ki", "2Ki", "1Chr", "2Chr", "Mat", "Mark", "Luke"}
    assert parallel < books.keys() - {*bible.VALID, *bible.TEST}

    def runs(*names: str) -> set[tuple[str, ...]]:
        verses = [line.split() for name in names for line in books[name].splitlines()]
        return {tuple(verse[i : i + 10]) for verse in verses for i in range(len(verse) - 9)}

    for held_out in (*bible.VALID, *bible.TEST):
        own = runs(held_out)
        assert len(own & runs(*books.keys() - {held_out})) < 0.005 * len(own)
    chronicles = runs("1Chr", "2Chr")  # what such a split would give away
    assert len(chronicles & runs("1Sm", "2Sm", "1Ki", "2Ki")) > 0.04 * len(chronicles)


def test_the_embedded_corpus() -> None:
    """Otherwise the sizes in the docs are wrong, or too many test words are unknown."""
    found = bible.king_james(5_000)
    assert len(found.vocabulary) == 5_000
    sizes = [len(text) for text in (found.train, found.valid, found.test)]
    assert sizes == [703_461, 59_171, 60_097]  # 789,634 words, 1,993 possessives, 31,102 verses
    assert sum(sizes) == 789_634 + 1_993 + 31_102
    assert 0 < (found.test == 0).double().mean() < 0.05


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"this is no xz file", "is not an xz file, or is damaged"),
        (lzma.compress(b"verse " * 999)[:-20], "is incomplete"),
        (b"", "is incomplete"),
        (lzma.compress(b"verse " * 999)[:60] + b"?" * 60, "is not an xz file, or is damaged"),
        (lzma.compress(bytes(MAX_BYTES + 1)), "unpacks to more than 67,108,864 bytes"),
    ],
)
def test_a_damaged_or_too_large_file_is_refused(packed: bytes, message: str) -> None:
    """Otherwise a file of ten kilobytes fills the memory."""
    with pytest.raises(DataError, match=f"the file {message}"):
        bible.decompress(packed, "the file")


def test_the_entropy_of_a_chain() -> None:
    """By hand: two words; the first is always followed by the second, the second by either."""
    source = chain(3)
    assert source.transitions.sum(axis=1) == pytest.approx(np.ones(N_WORDS))
    assert source.stationary @ source.transitions == pytest.approx(source.stationary)
    stay = source._replace(
        transitions=np.array([[0.5, 0.5], [1 - 1e-15, 1e-15]]), stationary=np.array([2 / 3, 1 / 3])
    )
    assert stay.entropy == pytest.approx(2 / 3 * math.log(2))


def test_the_synthetic_text_walks_the_chain() -> None:
    """Otherwise the entropy is not that of the text."""
    source, found = chain(0), synthetic(0)
    walk = torch.cat([found.train, found.valid, found.test]).numpy()
    counts = np.zeros((N_WORDS, N_WORDS))
    np.add.at(counts, (walk[:-1], walk[1:]), 1)
    totals = counts.sum(axis=1, keepdims=True)
    assert np.abs(totals[:, 0] / totals.sum() - source.stationary).max() < 0.005
    error = (counts / totals - source.transitions) / np.sqrt(source.transitions / totals)
    assert np.abs(error).mean() < 1.0  # a normal deviate's is .8
    assert torch.equal(synthetic(0).test, found.test)
    assert not torch.equal(synthetic(1).test, found.test)


def test_the_synthetic_text_has_no_more_words_than_asked_for() -> None:
    """Otherwise an option does nothing."""
    fewer = Language(LanguageConfig(data="synthetic", max_words=4)).corpus
    assert fewer.vocabulary == ("w0", "w1", "w2", "w3")
    assert fewer.train.bincount() / len(fewer.train) == pytest.approx(
        chain(0, 4).stationary, abs=0.01
    )
    assert len(Language(LanguageConfig(data="synthetic", max_words=40)).corpus.vocabulary) == 30


def test_a_run_says_where_its_text_is_from() -> None:
    """Otherwise perplexities of different texts are compared."""
    name, version, sha256, split = Language(LanguageConfig(max_words=100)).data
    assert (name, version, sha256) == ("king-james", "1", KING_JAMES.sha256)
    assert "John" in split
    assert Language(LanguageConfig(data="synthetic")).data.sha256 is None


def test_only_the_training_text_decides_the_vocabulary() -> None:
    """Otherwise a vocabulary depends on the order of words or texts."""
    one = corpus(words(b"b a a\nc b a", "x"), [UNK], ["a"], 100)
    assert one.vocabulary == (UNK, EOS, "a", "b", "c")
