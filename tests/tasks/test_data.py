"""Data sets by their checksums."""

import hashlib
from pathlib import Path

import pytest

from plasticrl.tasks.data import (
    DATA_ROOT_VARIABLE,
    DataError,
    EmbeddedDataSet,
    ExternalDataSet,
    File,
    sha256_of,
)

WORDS = b"the quick brown fox\n"
MD5 = hashlib.md5(WORDS, usedforsecurity=False).hexdigest()
SHA256 = hashlib.sha256(WORDS).hexdigest()
FOXES = ExternalDataSet("Foxes", "language", (File("fox/words.txt", MD5),), "king-james")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fox").mkdir()
    (tmp_path / "fox" / "words.txt").write_bytes(WORDS)
    return tmp_path


def test_the_flag_names_the_folder(folder: Path) -> None:
    assert FOXES.find(str(folder)) == [folder / "fox" / "words.txt"]


def test_the_environment_variable_names_the_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_ROOT_VARIABLE, str(folder))
    assert FOXES.find(None) == [folder / "fox" / "words.txt"]
    with pytest.raises(DataError, match=r"data_root: there is no folder .*elsewhere"):
        FOXES.find(str(folder / "elsewhere"))  # the flag wins
    monkeypatch.setenv(DATA_ROOT_VARIABLE, str(folder / "fox" / "words.txt"))
    with pytest.raises(DataError, match=rf"{DATA_ROOT_VARIABLE}: there is no folder .*words.txt"):
        FOXES.find(None)


def test_unpacked_folders_are_used_if_no_file_exists(folder: Path) -> None:
    """Otherwise existing data is reported as missing, or a damaged file is ignored."""
    unpacked = FOXES._replace(unpacked_folders=("red", "gray"))
    (folder / "red").mkdir()
    assert unpacked.find(str(folder)) == [folder / "fox" / "words.txt"]
    (folder / "gray").mkdir()
    assert unpacked.find(str(folder)) == [folder / "fox" / "words.txt"]
    (folder / "fox" / "words.txt").unlink()
    assert unpacked.find(str(folder)) == [folder / "red", folder / "gray"]
    (folder / "gray").rmdir()
    with pytest.raises(DataError, match=r"there is no file .*words.txt"):
        unpacked.find(str(folder))


@pytest.mark.parametrize("contents", [WORDS[:-1], b"", WORDS.replace(b"fox", b"dog")])
def test_a_file_with_the_wrong_checksum_is_refused(folder: Path, contents: bytes) -> None:
    (folder / "fox" / "words.txt").write_bytes(contents)
    with pytest.raises(DataError, match=f"words.txt is not the Foxes file.*not {MD5}"):
        FOXES.find(str(folder))


def test_a_missing_file_is_named_with_its_checksum_and_a_substitute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DATA_ROOT_VARIABLE, raising=False)
    for where in (str(tmp_path), None):
        with pytest.raises(DataError) as caught:
            FOXES.find(where)
        message = str(caught.value)
        assert "words.txt" in message
        assert MD5 in message
        assert "data=king-james" in message
    assert "data_root=FOLDER" in message


def test_an_altered_embedded_file_is_refused(folder: Path) -> None:
    path = folder / "fox" / "words.txt"
    embedded = EmbeddedDataSet("foxes", "language", path, SHA256, "about foxes")
    assert embedded.read() == WORDS
    path.write_bytes(WORDS + b"x")
    with pytest.raises(DataError, match=r"words\.txt has been altered"):
        embedded.read()
    path.unlink()
    with pytest.raises(DataError, match="install plasticrl again"):
        embedded.read()


def test_one_checksum_for_several_files(folder: Path) -> None:
    path = folder / "fox" / "words.txt"
    assert sha256_of([path]) == SHA256
    assert sha256_of([path, path]) == hashlib.sha256((SHA256 * 2).encode()).hexdigest()
    with pytest.raises(DataError, match="cannot read"):
        sha256_of([folder / "none"])
