"""Checkpoints are exact, atomic and limited in number, and loading one runs no code."""

import errno
import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from plasticrl.runs import (
    RunError,
    checkpoint,
    latest_checkpoint,
    load_checkpoint,
    load_latest,
    save_checkpoint,
)
from plasticrl.runs.checkpoint import add_checksum
from plasticrl.runs.files import write_json

CONTENT: dict[str, Any] = {
    "policy": {"weight": torch.arange(6.0).reshape(2, 3), "half": torch.ones(2).bfloat16()},
    "optimizer": {"state": {0: {"step": torch.tensor(3)}}, "groups": [{"lr": 1e-3, "none": None}]},
    "env": (1, "seed", True, 0.1 + 0.2),
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    return bool(left == right)


def test_content_comes_back_exactly(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "checkpoints", 12000, CONTENT)
    assert path.name == "step_000000012000.pt"
    assert same(load_checkpoint(path), CONTENT)


def test_state_dict_and_parameters_come_back_as_plain_tensors(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    path = save_checkpoint(tmp_path, 0, {"dict": layer.state_dict(), "weight": layer.weight})
    loaded = load_checkpoint(path)
    assert type(loaded["dict"]) is dict
    assert type(loaded["weight"]) is torch.Tensor
    assert not loaded["weight"].requires_grad
    assert torch.equal(loaded["dict"]["bias"], layer.bias)


class State(NamedTuple):
    hidden: int


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ({"a": {"b": [0, np.zeros(2)]}}, r"content\.a\.b\[1\] is a ndarray"),
        ({"a": np.float64(1)}, r"content\.a is a float64"),
        ({"a": {1, 2}}, r"content\.a is a set"),
        ({"a": State(1)}, r"content\.a is a State"),
        ({"a": {(1, 2): 3}}, r"content\.a has the key \(1, 2\)"),
        ({"a": lambda: None}, r"content\.a is a function"),
    ],
)
def test_what_would_not_load_is_not_saved(
    tmp_path: Path, content: dict[str, Any], where: str
) -> None:
    with pytest.raises(TypeError, match=where):
        save_checkpoint(tmp_path, 1, content)
    assert names(tmp_path) == []


@pytest.mark.parametrize(("step", "keep"), [(-1, 3), (1, 0)])
def test_impossible_step_and_keep(tmp_path: Path, step: int, keep: int) -> None:
    with pytest.raises(ValueError, match="step must be >= 0 and keep >= 1"):
        save_checkpoint(tmp_path, step, {}, keep=keep)


def test_only_the_latest_are_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".step_000000000001.pt.99.tmp").write_bytes(b"a killed save's half")
    for step in (5, 10, 999_999_999_999, 1_000_000_000_000):
        save_checkpoint(tmp_path, step, {"step": step}, keep=3)
    expected = ["step_000000000010.pt", "step_1000000000000.pt", "step_999999999999.pt"]
    assert names(tmp_path) == ["notes.txt", *expected]
    assert load_checkpoint(latest_checkpoint(tmp_path)) == {"step": 1_000_000_000_000}


def test_the_new_checkpoint_is_kept_even_behind_later_ones(tmp_path: Path) -> None:
    for step in (10, 20, 5):
        save_checkpoint(tmp_path, step, {}, keep=1)
    assert names(tmp_path) == ["step_000000000005.pt", "step_000000000020.pt"]


def test_a_failed_write_leaves_the_older_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, 1, {"step": 1}, keep=1)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"step_000000000002\.pt: No space left"):
        save_checkpoint(tmp_path, 2, {"step": 2}, keep=1)
    assert names(tmp_path) == ["step_000000000001.pt"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot create the folder"):
        save_checkpoint(tmp_path / "file" / "checkpoints", 1, {})


def test_latest_ignores_what_a_killed_save_left(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1, {})
    (tmp_path / ".step_000000000002.pt.77.tmp").write_bytes(b"half")
    assert latest_checkpoint(tmp_path) == path


@pytest.mark.parametrize("folder", ["", "missing"])
def test_no_checkpoint_yet(tmp_path: Path, folder: str) -> None:
    with pytest.raises(RunError, match="there is no checkpoint in"):
        latest_checkpoint(tmp_path / folder)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No such file"):
        load_checkpoint(tmp_path / "step_000000000001.pt")


def test_truncated_file_names_itself(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 2, CONTENT)
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(RunError, match=r"000002\.pt is damaged, or not a plasticrl checkpoint"):
            load_checkpoint(path)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1, {"weight": torch.arange(8.0), "lr": 0.5})
    whole = path.read_bytes()
    for index in range(len(whole)):
        damaged = bytearray(whole)
        damaged[index] ^= 1 << index % 8
        path.write_bytes(damaged)
        with pytest.raises(RunError, match="is damaged, or not a plasticrl checkpoint"):
            load_checkpoint(path)


def test_the_latest_whole_one_is_loaded_and_the_others_are_named(tmp_path: Path) -> None:
    paths = [save_checkpoint(tmp_path, step, {"step": step}) for step in (1, 2, 3)]
    for path in paths[1:]:
        path.write_bytes(path.read_bytes()[1:])
    loaded = load_latest(tmp_path)
    assert (loaded.path, loaded.content) == (paths[0], {"step": 1})
    assert [sentence.partition(" is damaged")[0] for sentence in loaded.damaged] == [
        str(paths[2]),
        str(paths[1]),
    ]
    paths[0].write_bytes(b"")
    with pytest.raises(RunError, match=r"000003\.pt is damaged"):
        load_latest(tmp_path)


def test_a_damaged_later_checkpoint_pushes_no_good_one_out(tmp_path: Path) -> None:
    for step in (100, 300):
        save_checkpoint(tmp_path, step, {}, keep=2)
    (tmp_path / "step_000000000300.pt").write_bytes(b"damaged")
    save_checkpoint(tmp_path, 200, {}, keep=2)  # the run was resumed from step 100
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "step_000000000100.pt",
        "step_000000000200.pt",
        "step_000000000300.pt",
    ]
    assert load_latest(tmp_path).path.name == "step_000000000200.pt"


def test_a_checkpoint_of_another_format_is_not_skipped(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {})
    seal({"format_version": 3, "content": {}}, tmp_path / "step_000000000002.pt")
    with pytest.raises(RunError, match="has format 3"):
        load_latest(tmp_path)


def test_what_a_killed_write_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".x.json.99999999.tmp").write_bytes(b"of a process that is gone")
    (tmp_path / f".x.json.{os.getppid()}.tmp").write_bytes(b"of one that may be writing it")
    (tmp_path / ".y.json.99999999.tmp").write_bytes(b"of another file")
    write_json(tmp_path / "x.json", {})
    assert {path.name for path in tmp_path.iterdir()} == {
        f".x.json.{os.getppid()}.tmp",
        ".y.json.99999999.tmp",
        "x.json",
    }


def test_what_could_not_be_read_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "LARGEST", 5000)
    save_checkpoint(tmp_path, 1, {})
    with pytest.raises(RunError, match=r"step 2 has .* bytes, but at most 5,000 can be read again"):
        save_checkpoint(tmp_path, 2, {"weight": torch.zeros(2000)})
    assert load_latest(tmp_path).path.name == "step_000000000001.pt"


@pytest.mark.parametrize("folder", ["", "missing"])
def test_no_checkpoint_to_load(tmp_path: Path, folder: str) -> None:
    with pytest.raises(RunError, match="there is no checkpoint in"):
        load_latest(tmp_path / folder)


def test_torch_reads_it_without_us(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1, {"weight": torch.arange(8.0)})
    assert torch.equal(torch.load(path, weights_only=True)["content"]["weight"], torch.arange(8.0))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert len(archive.comment) == 64


def seal(saved: object, path: Path) -> None:
    """Write a checkpoint whose checksum is right."""
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    add_checksum(buffer)
    path.write_bytes(buffer.getvalue())


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_hostile_pickle_does_not_run(tmp_path: Path, as_zip: bool) -> None:
    path, target = tmp_path / "step_000000000001.pt", tmp_path / "broken-into"
    if as_zip:
        seal({"format_version": 2, "content": {"a": Hostile(target)}}, path)
    else:
        path.write_bytes(pickle.dumps(Hostile(target)))
    with pytest.raises(RunError, match="not a plasticrl checkpoint"):
        load_checkpoint(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "saved",
    [
        {"weight": torch.ones(1)},
        [1, 2],
        {"format_version": "2", "content": {}},
        {"format_version": 2, "content": []},
        {"format_version": 2, "content": OrderedDict()},
    ],
)
def test_foreign_files(tmp_path: Path, saved: object) -> None:
    seal(saved, tmp_path / "other.pt")
    with pytest.raises(RunError, match="not a plasticrl checkpoint"):
        load_checkpoint(tmp_path / "other.pt")


def test_a_zip_that_is_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("data", "{}")
    with pytest.raises(
        RunError,
        match=r"model\.zip has no checksum: it is not a plasticrl checkpoint, or it was wr",
    ):
        load_checkpoint(tmp_path / "model.zip")


@pytest.mark.parametrize("version", [1, 3])
def test_another_format_is_named(tmp_path: Path, version: int) -> None:
    path = tmp_path / "step_000000000001.pt"
    seal({"format_version": version, "content": {}}, path)
    with pytest.raises(RunError, match=rf"has format {version}, but .* reads format 2: use the ve"):
        load_checkpoint(path)
