"""CIFAR-10 in its published format, whole, damaged and hostile."""

import hashlib
import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from plasticrl.tasks.data import DataError, ExternalDataSet, File
from plasticrl.tasks.episodes import make_generator
from plasticrl.tasks.images import cifar10, sources
from plasticrl.tasks.images.config import BATCHES, CIFAR_10, ImagesConfig
from plasticrl.tasks.images.sources import normalized
from plasticrl.tasks.images.task import Images

NAMES = [file.name for file in CIFAR_10.alternative_files]
N_EACH = 3
RUNS = b"cposix\nsystem\n(U\x10touch executed  tR."
"""A pickle that runs a command."""

Bytes = npt.NDArray[np.uint8]


def text(value: bytes) -> bytes:
    """A string as Python 2's pickle writes it."""
    return b"T" + struct.pack("<i", len(value)) + value


def batch(data: Bytes, dtype: bytes = b"u1", shape: tuple[int, int] | None = None) -> bytes:
    """A batch as Python 2 wrote it: protocol 2, byte strings, an array by numpy's old names."""
    n, width = shape or data.shape
    kind = b"cnumpy\ndtype\nU\x02" + dtype + b"K\x00K\x01\x87R(K\x03U\x01|NNN"
    kind += b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    array += b"(K\x01K" + bytes([n]) + b"M" + struct.pack("<H", width) + b"\x86" + kind
    array += b"\x89" + text(data.tobytes()) + b"tb"
    labels = b"](" + b"K\x07" * n + b"e"
    label, files = (
        text(b"training batch 1 of 5"),
        b"](" + text(b"leptodactylus_s_000004.png") + b"e",
    )
    pairs = [(b"batch_label", label), (b"labels", labels), (b"data", array), (b"filenames", files)]
    return b"\x80\x02}(" + b"".join(text(key) + value for key, value in pairs) + b"u."


@pytest.fixture
def pictures() -> list[Bytes]:
    """The bytes of six small batches."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (N_EACH, 3072), dtype=np.uint8) for _ in NAMES]


def md5(contents: bytes) -> str:
    return hashlib.md5(contents, usedforsecurity=False).hexdigest()


def as_folder(root: Path, contents: list[bytes]) -> ExternalDataSet:
    """The batches in their folder, and the data set with their checksums."""
    (root / BATCHES).mkdir()
    for name, one in zip(NAMES, contents, strict=True):
        (root / name).write_bytes(one)
    files = tuple(File(name, md5(one)) for name, one in zip(NAMES, contents, strict=True))
    return CIFAR_10._replace(alternative_files=files)


def as_archive(root: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> ExternalDataSet:
    """A tar.gz, and the data set with its checksum."""
    path = root / CIFAR_10.files[0].name
    with tarfile.open(path, "w:gz") as archive:
        for member, contents in members:
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))
    return CIFAR_10._replace(files=(File(path.name, md5(path.read_bytes())),))


def members(contents: list[bytes]) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(tarfile.TarInfo(name), one) for name, one in zip(NAMES, contents, strict=True)]


def read(cifar: ExternalDataSet, root: Path) -> tuple[cifar10.GrayPictures, cifar10.GrayPictures]:
    return cifar10.read(cifar, cifar.find(str(root)))


def summed(pictures: list[Bytes]) -> cifar10.GrayPictures:
    planes = np.concatenate(pictures).astype(np.float32)
    red, green, blue = planes[:, :1024], planes[:, 1024:2048], planes[:, 2048:]
    return (red + green + blue).reshape(-1, 32, 32)


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")
def test_the_test_s_batches_are_what_numpy_reads(pictures: list[Bytes]) -> None:
    """Otherwise the format of these tests is not the published one."""
    loaded = pickle.loads(batch(pictures[0]), encoding="bytes")
    assert np.array_equal(loaded[b"data"], pictures[0])
    assert loaded[b"labels"] == [7] * N_EACH


def test_folder(pictures: list[Bytes], tmp_path: Path) -> None:
    """Otherwise the colors, the order or the split are wrong."""
    training, held_out = read(as_folder(tmp_path, [batch(one) for one in pictures]), tmp_path)
    assert np.array_equal(training, summed(pictures[:5]))
    assert np.array_equal(held_out, summed(pictures[5:]))


def test_archive(pictures: list[Bytes], tmp_path: Path) -> None:
    """Otherwise the published file cannot be read, or the result depends on the order in it."""
    published = members([batch(one) for one in pictures])
    published = [(tarfile.TarInfo(f"{BATCHES}/readme.html"), b"<html>"), *reversed(published)]
    training, held_out = read(as_archive(tmp_path, published), tmp_path)
    assert np.array_equal(training, summed(pictures[:5]))
    assert np.array_equal(held_out, summed(pictures[5:]))
    assert len(list(tmp_path.iterdir())) == 1  # nothing was unpacked


def test_numpy_s_order_by_columns(pictures: list[Bytes], tmp_path: Path) -> None:
    """Otherwise pictures are scrambled where numpy stored an array by columns."""
    contents = [batch(one) for one in pictures]
    by_columns = np.asfortranarray(pictures[0]).tobytes(order="A")
    contents[0] = contents[0].replace(
        b"\x89" + text(pictures[0].tobytes()), b"\x88" + text(by_columns)
    )
    training, _ = read(as_folder(tmp_path, contents), tmp_path)
    assert np.array_equal(training, summed(pictures[:5]))


def test_altered_is_refused_before_it_is_read(pictures: list[Bytes], tmp_path: Path) -> None:
    """Otherwise a file that replaced the data is opened."""
    cifar = as_folder(tmp_path, [batch(one) for one in pictures])
    (tmp_path / NAMES[2]).write_bytes(RUNS)
    with pytest.raises(DataError, match="data_batch_3 is not the CIFAR-10 file: its md5 is"):
        read(cifar, tmp_path)
    (tmp_path / NAMES[2]).unlink()
    with pytest.raises(DataError, match=r"there is no file .*data_batch_3"):
        read(cifar, tmp_path)


@pytest.mark.parametrize(
    "hostile",
    [
        RUNS,
        b"\x80\x02cbuiltins\nexec\nU\x11open('executed')  \x85R.",
        pickle.dumps(Path("executed"), protocol=4),
        b"\x80\x02cnumpy\nload\nU\x08executed\x85R.",
    ],
)
def test_a_pickle_that_contains_code_is_not_run(
    hostile: bytes, pictures: list[Bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a data set can run code if the attacker controls its checksum too."""
    monkeypatch.chdir(tmp_path)
    contents = [batch(one) for one in pictures]
    contents[4] = hostile
    in_folder, in_archive = tmp_path / "a", tmp_path / "b"
    for root in (in_folder, in_archive):
        root.mkdir()
    for cifar, root in (
        (as_folder(in_folder, contents), in_folder),
        (as_archive(in_archive, members(contents)), in_archive),
    ):
        with pytest.raises(DataError, match=r"data_batch_5.* asks for [\w.]+, which no"):
            read(cifar, root)
    assert not (tmp_path / "executed").exists()


def test_that_pickle_would_have_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the test above proves nothing."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(RUNS)
    assert (tmp_path / "executed").exists()


def damaged_batches() -> dict[str, Callable[[Bytes], bytes]]:
    return {
        "truncated": lambda data: batch(data)[:-2000],
        "empty": lambda data: b"",
        "not a pickle": lambda data: b"\x89PNG\r\n",
        "another object": lambda data: b"\x80\x02](K\x01e.",
        "no data": lambda data: b"\x80\x02}U\x06labels]s.",
        "another type": lambda data: batch(data, dtype=b"O8"),
        "too short an array": lambda data: batch(data[:2], shape=(3, 3072)),
        "an odd width": lambda data: batch(np.ascontiguousarray(data[:, :3071])),
    }


@pytest.mark.parametrize("kind", damaged_batches())
def test_damaged_batches(kind: str, pictures: list[Bytes], tmp_path: Path) -> None:
    """Otherwise a damaged download gives a traceback or wrong pictures."""
    contents = [batch(one) for one in pictures]
    contents[0] = damaged_batches()[kind](pictures[0])
    with pytest.raises(DataError, match=r"data_batch_1 (is damaged|has an array \(3, 3071\))"):
        read(as_folder(tmp_path, contents), tmp_path)


def test_archives_of_something_else(pictures: list[Bytes], tmp_path: Path) -> None:
    """Otherwise a link or path to another place is followed, or there is a traceback."""
    whole = members([batch(one) for one in pictures])
    link = tarfile.TarInfo(NAMES[0])
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    outside = tarfile.TarInfo(f"../{NAMES[0]}")
    absolute = tarfile.TarInfo(f"{tmp_path}/{NAMES[0]}")
    for first in (link, outside, absolute):
        cifar = as_archive(tmp_path, [(first, b"" if first is link else whole[0][1]), *whole[1:]])
        with pytest.raises(DataError, match=r"tar\.gz has no file .*data_batch_1"):
            read(cifar, tmp_path)
    path = tmp_path / CIFAR_10.files[0].name
    as_archive(tmp_path, whole)
    for contents in (path.read_bytes()[:-3000], b"", b"not an archive"):
        path.write_bytes(contents)
        cifar = CIFAR_10._replace(files=(File(path.name, md5(contents)),))
        with pytest.raises(DataError, match=r"tar\.gz is damaged"):
            read(cifar, tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_member_that_would_fill_the_memory(
    pictures: list[Bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a small archive of zeros fills the memory."""
    monkeypatch.setattr(cifar10, "LARGEST_BATCH", 1000)
    cifar = as_archive(tmp_path, members([batch(one) for one in pictures]))
    with pytest.raises(DataError, match=r"data_batch_1 in .* is too large: "):
        read(cifar, tmp_path)


def test_missing_says_both_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a user who has unpacked the archive must pack it again."""
    monkeypatch.delenv("PLASTICRL_DATA", raising=False)
    with pytest.raises(DataError, match=r"tar\.gz \(md5 c58f.* or .*test_batch.*data=p"):
        Images(ImagesConfig(data="cifar-10"))


def test_a_run_says_what_it_was_trained_on(
    pictures: list[Bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a result on the embedded pictures is mistaken for one on CIFAR-10."""
    archive = as_archive(tmp_path, members([batch(one) for one in pictures]))
    monkeypatch.setattr(sources, "CIFAR_10", archive)
    task = Images(ImagesConfig(data="cifar-10", data_root=str(tmp_path)))
    sha256 = hashlib.sha256((tmp_path / archive.files[0].name).read_bytes()).hexdigest()
    assert task.data == ("CIFAR-10", "python", sha256, "the test batch")
    episodes = task.sample(2, make_generator(0, "cpu"), held_out=True)
    expected = normalized(torch.from_numpy(summed(pictures[5:])), 32)
    for picture in episodes.shown.flatten(0, 1):
        assert (picture == expected).all(dim=1).any()
    assert Images(ImagesConfig()).data.name == "photographs"
