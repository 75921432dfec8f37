"""Reading Omniglot, on a tiny data set in its format and on damaged and hostile files."""

import io
import json
import random
import shutil
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from plasticrl.commands import run_command
from plasticrl.tasks.data import DataError, File, md5
from plasticrl.tasks.episodes import make_generator
from plasticrl.tasks.omniglot import drawings
from plasticrl.tasks.omniglot.config import OMNIGLOT
from plasticrl.tasks.omniglot.drawings import PARTS, read_omniglot, read_part, split_of

train_main = partial(run_command, "train")

TINY = {"images_background": 6, "images_evaluation": 5}
"""Characters."""
TINY_HELD_OUT = 3


def png(left: int = 0, size: tuple[int, int] = (105, 105)) -> bytes:
    """A black square of 17 pixels on white, with one bit per pixel as in the data set."""
    image = Image.new("1", size, 1)
    ImageDraw.Draw(image).rectangle((left, 0, left + 16, 16), fill=0)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_folder(part: Path, n_characters: int) -> Path:
    """Write a part in the real layout, with two alphabets and 20 drawings of each character."""
    number = 0
    for character in range(n_characters):
        alphabet = ("Tengwar", "Alphabet_of_the_Magi")[character % 2]
        folder = part / alphabet / f"character{character // 2 + 1:02d}"
        folder.mkdir(parents=True)
        for person in range(20):
            number += 1
            (folder / f"{number:04d}_{person + 1:02d}.png").write_bytes(png(4 * person))
    (part / "Tengwar" / ".DS_Store").write_bytes(b"not a drawing")
    return part


def write_zip(folder: Path, reverse: bool = False) -> Path:
    """Write the same as a zip, whose entries can be in any order."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        files = sorted(folder.rglob("*"), reverse=reverse)
        for file in files:
            archive.write(file, file.relative_to(folder.parent))
    return path


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both parts as folders, with the expected numbers of characters set to theirs."""
    for part, n_characters in TINY.items():
        write_folder(tmp_path / part, n_characters)
        monkeypatch.setitem(PARTS, part, n_characters)
    monkeypatch.setattr(drawings, "N_HELD_OUT", TINY_HELD_OUT)
    return tmp_path


@pytest.fixture
def zips(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both parts only as zips, with the expected checksums set to theirs."""
    files = []
    for part in TINY:
        path = write_zip(folders / part)
        files.append(File(path.name, md5(path)))
        shutil.rmtree(folders / part)
    monkeypatch.setattr(drawings, "OMNIGLOT", OMNIGLOT._replace(files=tuple(files)))
    return folders


def test_the_published_numbers() -> None:
    """Otherwise the data set is not that of Lake et al."""
    assert PARTS == {"images_background": 964, "images_evaluation": 659}
    assert sum(PARTS.values()) - drawings.N_HELD_OUT == 1523
    assert [file.md5 for file in OMNIGLOT.files] == [
        "68d2efa1b9178cc56df9314c21c6e718",
        "6b91aef0f799c5bb55b94e3f2daec811",
    ]


def test_folders_are_read_and_split(folders: Path) -> None:
    """Otherwise characters are lost, or are both trained on and held out."""
    characters = read_omniglot(str(folders), "cpu")
    assert characters.drawings.shape == (11, 20, 31, 31)
    assert characters.drawings.dtype == torch.uint8
    assert (len(characters.training), len(characters.held_out)) == (8, 3)
    both = torch.cat([characters.training, characters.held_out])
    assert both.sort().values.tolist() == list(range(11))
    assert characters.data.name == "Omniglot"
    assert characters.data.version.startswith("folders, which have no published checksum")
    assert characters.data.sha256 is not None
    assert "8 to train on, 3 held out" in characters.data.split


def test_zips_give_the_same_as_folders(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise results depend on whether the zips are unpacked, or on the order of entries."""
    unpacked = read_omniglot(str(folders), "cpu")
    paths = [write_zip(folders / part, reverse=True) for part in TINY]
    real = OMNIGLOT._replace(files=tuple(File(path.name, md5(path)) for path in paths))
    monkeypatch.setattr(drawings, "OMNIGLOT", real)
    packed = read_omniglot(str(folders), "cpu")
    assert packed.data.version == "zips with the published md5"
    assert torch.equal(packed.drawings, unpacked.drawings)
    assert torch.equal(packed.held_out, unpacked.held_out)


def test_ink_is_dark_and_averaged_down(folders: Path) -> None:
    """Otherwise paper and ink are exchanged, or thin lines are lost."""
    found = read_part(folders / "images_background", 6)
    assert next(iter(found)) == "images_background/Alphabet_of_the_Magi/character01"
    first = found["images_background/Alphabet_of_the_Magi/character01"][0]
    assert first[0, 0] == 255
    assert first[20, 20] == 0
    ink = first.astype(float).sum() / 255 * (105 / 31) ** 2
    assert ink == pytest.approx(17 * 17, rel=0.01)  # area averaging keeps the amount


def test_the_split_depends_on_names_alone() -> None:
    """Otherwise the held-out characters depend on the machine or the order of files."""
    names = [f"part/alphabet/character{k:02d}" for k in range(30)]
    held_out, training = split_of(names, 5)
    assert sorted(held_out + training) == list(range(30))
    backwards, _ = split_of(names[::-1], 5)
    assert {names[k] for k in held_out} == {names[::-1][k] for k in backwards}
    assert held_out == [7, 11, 13, 16, 21]  # by sha256sum and sort


def test_the_drawings_of_a_row_are_different(folders: Path) -> None:
    """Otherwise the query can be an image that was shown with its label."""
    characters = read_omniglot(str(folders), "cpu")
    images = characters.draw(torch.full((4, 20), 3), make_generator(0, "cpu"))
    for row in images.flatten(2):
        assert len({tuple(image) for image in row.tolist()}) == 20
    assert (images.amin(), images.amax()) == (0, 1)


def test_a_run_on_the_real_set(zips: Path, tmp_path: Path) -> None:
    """Otherwise ``--data omniglot`` does not work."""
    run = tmp_path / "run"
    sizes = ["--n-updates", "2", "--batch-size", "2", "--evaluation-episodes", "5"]
    flags = ["--n-ways", "3", "--channels", "4", *sizes]
    status = train_main(
        ["omniglot-paper", "--data", "omniglot", "--data-root", str(zips), *flags,
         "--run-dir", str(run)]
    )  # fmt: skip
    assert status == 0
    record = json.loads((run / "evaluation.json").read_text())
    assert record["data"]["name"] == "Omniglot"


def test_too_few_characters_held_out(zips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the user reads an error about tensor shapes."""
    flags = ["--data", "omniglot", "--data-root", str(zips), "--n-ways", "4"]
    assert train_main(["omniglot-paper", *flags, "--run-dir", str(zips / "run")]) == 2
    assert "--n-ways must be at most 3" in capsys.readouterr().err


def test_missing_zips_are_named_with_a_substitute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the user does not know what to put where."""
    flags = ["--data", "omniglot", "--data-root", str(tmp_path), "--run-dir", str(tmp_path / "r")]
    assert train_main(["omniglot-paper", *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for word in ("images_background.zip", "68d2efa1b9178cc56df9314c21c6e718", "--data glyphs"):
        assert word in error


def test_another_zip_is_refused(zips: Path) -> None:
    """Otherwise a result on other data is taken for one on Omniglot."""
    path = zips / "images_evaluation.zip"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"images_evaluation\.zip is not the Omniglot file"):
        read_omniglot(str(zips), "cpu")


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -1])
def test_a_truncated_zip(zips: Path, keep: float) -> None:
    """Otherwise an incomplete download gives a traceback or some of the characters."""
    path = zips / "images_background.zip"
    contents = path.read_bytes()
    path.write_bytes(contents[: int(keep * len(contents)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(DataError, match=r"images_background\.zip is a damaged zip"):
        read_part(path, TINY["images_background"])


def test_a_zip_with_altered_bytes_is_refused_or_reads_the_same(zips: Path) -> None:
    """Otherwise damage can give a traceback or wrong pictures."""
    path = zips / "images_background.zip"
    contents = path.read_bytes()
    expected = read_part(path, 6)
    chance = random.Random(0)
    messages = []
    for _ in range(60):
        altered = bytearray(contents)
        altered[chance.randrange(len(altered))] ^= 1 << chance.randrange(8)
        path.write_bytes(altered)
        try:
            found = read_part(path, 6)
        except DataError as error:
            messages.append(str(error))
            continue
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert len(messages) > 20
    assert all("images_background.zip" in message for message in messages)


def one_entry(path: Path, name: str, contents: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, contents)
    return path


ENTRY = "images_background/Tengwar/character01/0001_01.png"


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"\0" * 50_000_000, "has 50,000,000 bytes, more than any drawing"),
        (b"", "0001_01.png is not a PNG of 105 x 105 pixels"),
        (b"GIF89a" + b"\0" * 50, "is not a PNG"),
        (png(size=(2000, 2000)), "is not a PNG of 105 x 105 pixels"),
        (png()[:40], "0001_01.png is a damaged PNG"),
        (png()[:-30], "0001_01.png is a damaged PNG"),
        (png(), "character01 has 1 drawings, not 20"),
    ],
    ids=["bomb", "empty", "gif", "large", "header", "cut", "few"],
)
def test_a_hostile_entry(tmp_path: Path, contents: bytes, message: str) -> None:
    """Otherwise the memory is filled, or the user reads a traceback."""
    path = one_entry(tmp_path / "images_background.zip", ENTRY, contents)
    with pytest.raises(DataError, match=message) as caught:
        read_part(path, 1)
    assert "images_background.zip" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["../../etc/character01/0001_01.png", "/etc/x/character01/0001_01.png", "README.md", "a/b.png"],
)
def test_an_entry_with_another_path_is_ignored(tmp_path: Path, name: str) -> None:
    """Otherwise a zip can choose the paths of files. Nothing is written."""
    path = one_entry(tmp_path / "images_background.zip", name, png())
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="has 0 characters, not 6"):
        read_part(path, 6)
    assert sorted(tmp_path.rglob("*")) == before


def test_too_many_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a small file keeps the machine busy forever."""
    monkeypatch.setattr(drawings, "MAX_FILES", 3)
    path = write_zip(write_folder(tmp_path / "images_background", 1))
    with pytest.raises(DataError, match="has 20 drawings: more than 3"):
        read_part(path, 1)


def test_an_incomplete_folder_is_refused(folders: Path) -> None:
    """Otherwise an interrupted unpacking changes the results."""
    part = folders / "images_background"
    (part / "Tengwar" / "character01" / "0001_01.png").unlink()
    with pytest.raises(DataError, match=r"Tengwar/character01 has 19 drawings, not 20"):
        read_omniglot(str(folders), "cpu")
    shutil.rmtree(part / "Tengwar" / "character01")
    with pytest.raises(DataError, match="images_background has 5 characters, not 6"):
        read_omniglot(str(folders), "cpu")
