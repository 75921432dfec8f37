"""The .npz file: everything is read back, nothing else is accepted, and no code in it is run."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.viewer.conftest import make_synapses

from plasticrl.viewer import (
    EpisodeTrace,
    Quantized,
    Scene,
    Synapses,
    ViewerError,
    archive,
    load_npz,
    save_npz,
)

Members = dict[str, bytes]


def assert_equal(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, EpisodeTrace | Scene | Synapses | Quantized):
        for field in fields_of(one):
            assert_equal(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_equal(one[name], other[name])
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


def members_of(path: Path) -> Members:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def write(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def change_meta(members: Members, **changes: Any) -> None:
    meta = json.loads(np.load(io.BytesIO(members["meta.npy"])).tobytes())
    content = json.dumps(meta | changes).encode()
    members["meta.npy"] = npy(np.frombuffer(content, np.uint8))


@pytest.fixture
def saved(episode: EpisodeTrace, tmp_path: Path) -> Path:
    save_npz(episode, tmp_path / "episode.npz")
    return tmp_path / "episode.npz"


@pytest.mark.parametrize("block", [1, 2])
def test_everything_comes_back(fields: dict[str, Any], tmp_path: Path, block: int) -> None:
    size = 64 * block
    trace = np.random.default_rng(0).normal(size=(12, size, size - 3)).astype(np.float32)
    episode = EpisodeTrace(**{**fields, "synapses": make_synapses(trace)})
    save_npz(episode, tmp_path / "e.npz")
    assert_equal(load_npz(tmp_path / "e.npz"), episode)
    assert os.listdir(tmp_path) == ["e.npz"]


def test_what_was_not_recorded_stays_away(fields: dict[str, Any], tmp_path: Path) -> None:
    names = ("frames", "texts", "values", "modulation", "synapses", "scene")
    episode = EpisodeTrace(**{**fields, **dict.fromkeys(names)})
    save_npz(episode, tmp_path / "e.npz")
    assert_equal(load_npz(tmp_path / "e.npz"), episode)


def test_numpy_itself_reads_the_file(saved: Path, episode: EpisodeTrace) -> None:
    with np.load(saved, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["rewards"], episode.rewards)
        assert episode.scene is not None
        np.testing.assert_array_equal(arrays["grid"], episode.scene.grid)
        assert arrays["trace"].dtype == np.int8


def test_two_hundred_steps_of_the_largest_trace_are_small(tmp_path: Path) -> None:
    """Otherwise a recording would be too large to send. The bytes of this trace are independent."""
    trace = np.random.default_rng(0).uniform(-1, 1, (200, 64, 64)).astype(np.float32)
    steps = np.zeros(200)
    episode = EpisodeTrace(
        title="t",
        env_id="e",
        preset="p",
        seed=0,
        ablated=False,
        actions=steps,
        rewards=steps,
        synapses=make_synapses(trace),
    )
    save_npz(episode, tmp_path / "e.npz")
    assert (tmp_path / "e.npz").stat().st_size < 2e6


def remove(name: str) -> Callable[[Members], None]:
    return lambda members: members.__delitem__(f"{name}.npy")


def put(name: str, content: bytes) -> Callable[[Members], None]:
    return lambda members: members.__setitem__(f"{name}.npy", content)


def meta(**changes: Any) -> Callable[[Members], None]:
    return lambda members: change_meta(members, **changes)


def scene(**changes: Any) -> Callable[[Members], None]:
    def spoil(members: Members) -> None:
        meta = json.loads(np.load(io.BytesIO(members["meta.npy"])).tobytes())
        change_meta(members, scene=meta["scene"] | changes)

    return spoil


class Pickled:
    """Ends the process when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (3,)


def header(descr: bytes, shape: bytes = b"12,") -> bytes:
    fields = b"{'descr': '%b', 'fortran_order': False, 'shape': (%b), }" % (descr, shape)
    return b"\x93NUMPY\x01\x00\x76\x00" + fields.ljust(117) + b"\n"


HUGE = header(b"<f8", b"99999999999, 9999999")
DEEP = np.frombuffer(b"[" * 100_000, np.uint8)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (put("rewards", header(b"<f1")), "'rewards' is not an array of numbers"),
        (put("rewards", header(b"<b2")), "'rewards' is not an array of numbers"),
        (put("rewards", header(b"<u1")), "'rewards' is not an array of numbers"),
        (put("trace", npy(np.int8(3))), r"trace levels must be \(T, h, w\), not \(\)"),
        (remove("meta"), "meta is missing"),
        (remove("rewards"), "rewards are missing"),
        (remove("weight"), "weight is missing"),
        (put("extra", npy(np.zeros(3))), "'extra' does not belong in it"),
        (put("other.thing", npy(np.zeros(3))), "'other.thing' does not belong in it"),
        (remove("grid"), "grid is missing"),
        (put("grid", npy(np.zeros((12, 3, 3)))), "grid must be uint8"),
        (put("grid", npy(np.full((12, 3, 3), 4, np.uint8))), "grid has 4, but there are 4 symbols"),
        (put("grid", npy(np.zeros((11, 3, 3), np.uint8))), "captions must be 11, not 12"),
        (scene(symbols=[["floor", " ", "empty", "muted"]] * 4), "a symbol must be four texts"),
        (scene(symbols=[3] * 4), "a symbol must be four texts"),
        (scene(captions=[3] * 12), "captions must be one line of printable text"),
        (scene(goal=3), "scene: goal must be str"),
        (scene(trail="ghost"), "trail must be empty or the name of a symbol"),
        (scene(more=1), "scene must have symbols, .* and nothing else"),
        (put("rewards", npy(np.zeros(3))), r"values must be \(3,\), not \(12,\)"),
        (put("rewards", npy(np.full(12, np.inf))), "rewards must hold finite numbers"),
        (put("rewards", npy(np.array(["a"] * 12))), "'rewards' is not an array of numbers"),
        (put("rewards", npy(np.array([Pickled()] * 12))), "'rewards' is not an array of numbers"),
        (put("rewards", pickle.dumps(Pickled())), "'rewards' is not an array of numbers"),
        (put("rewards", b""), "'rewards' is not an array of numbers"),
        (
            put("rewards", HUGE + b"12345678"),
            r"says it is \(99999999999, 9999999\) and has 8 bytes",
        ),
        (put("rewards", npy(np.zeros(12))[:-1]), r"says it is \(12,\) and has 95 bytes"),
        (put("frames", npy(np.zeros(12, np.uint8))), "frames must be uint8 of four axes"),
        (put("frames", npy(np.zeros((12, 9, 9, 3)))), "frames must be uint8"),
        (put("trace", npy(np.zeros((12, 9, 9), np.int8))), r"trace levels must be int8 \(12, 20"),
        (put("meta", npy(np.zeros(3, np.uint8))), "no recorded episode"),
        (put("meta", npy(DEEP)), "meta is nested too deeply"),
        (put("meta", npy(np.frombuffer(b"[]", np.uint8))), "its format is not"),
        (meta(format="plasticrl episode 1"), "its format is not 'plasticrl episode 2', the only"),
        (meta(terminated=1), "meta: terminated must be bool"),
        (meta(scene=None), "'grid' does not belong in it"),
        (meta(more=1), "meta must have format, .* and nothing else"),
        (meta(seed="3"), "meta: seed must be int"),
        (meta(seed=True), "meta: seed must be int"),
        (meta(texts=[1] * 12), "texts must be strings"),
        (meta(title="\x1b]0;owned\x07"), "title must be one line of printable text"),
        (meta(synapses={}), "synapses must have trace_scale"),
        (meta(synapses=None), "' does not belong in it"),
    ],
)
def test_what_does_not_belong_is_named(
    saved: Path, spoil: Callable[[Members], None], message: str
) -> None:
    members = members_of(saved)
    spoil(members)
    with pytest.raises(ViewerError, match=message) as raised:
        load_npz(write(saved, members))
    assert str(raised.value).startswith(f"cannot read {saved}: it is no recorded episode (")
    assert "\n" not in str(raised.value)


def test_a_file_that_would_unpack_to_too_much(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the memory would be full before the user sees a message."""
    monkeypatch.setattr(archive, "MAX_BYTES", 9_000)
    with pytest.raises(ViewerError, match=r"it unpacks to [0-9,]+ bytes, more than 9,000"):
        load_npz(saved)


def test_texts_of_too_much(
    saved: Path, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a small file of texts fills the memory, as parsed JSON is much larger."""
    size = 2**22 + 1
    members = members_of(saved) | {"meta.npy": npy(np.full(size, ord(" "), np.uint8))}
    parsed: list[int] = []
    monkeypatch.setattr(json, "loads", lambda text, **_: parsed.append(len(text)))
    with pytest.raises(ViewerError, match=r"meta unpacks to 4,194,[0-9]+ bytes, more than 4,194,"):
        load_npz(write(saved, members))
    assert parsed == []
    episode = EpisodeTrace(**{**fields, "texts": ("#" * (size // 12),) * 12})
    with pytest.raises(ViewerError, match=r"cannot record to .*: its texts are more than 4 MiB"):
        save_npz(episode, saved.with_name("other.npz"))
    assert os.listdir(saved.parent) == ["episode.npz"]


def test_a_file_that_lies_about_its_size(saved: Path) -> None:
    """Otherwise a file whose index states a small size would unpack to gigabytes."""
    content = saved.read_bytes()
    with zipfile.ZipFile(saved) as file:
        member = file.getinfo("frames.npy")
    true, small = (n.to_bytes(4, "little") for n in (member.file_size, 200))
    place = content.rindex(b"PK\x01\x02", 0, content.rindex(b"frames.npy"))
    assert content[place + 24 : place + 28] == true
    saved.write_bytes(content[: place + 24] + small + content[place + 28 :])
    with pytest.raises(ViewerError, match="cannot read"):
        load_npz(saved)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression(tmp_path: Path, method: int) -> None:
    """Otherwise decoders of other compressions raise errors that the reader does not catch."""
    with zipfile.ZipFile(tmp_path / "e.npz", "w", method) as file:
        file.writestr("meta.npy", npy(np.zeros(3)))
    with pytest.raises(ViewerError, match=r"'meta\.npy' is compressed in another way"):
        load_npz(tmp_path / "e.npz")


def test_no_file_and_no_zip(tmp_path: Path) -> None:
    with pytest.raises(ViewerError, match=r"cannot read .*none\.npz: No such file or directory"):
        load_npz(tmp_path / "none.npz")
    with pytest.raises(ViewerError, match="Is a directory"):
        load_npz(tmp_path)
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ViewerError, match=r"it is no whole \.npz file \(File is not a zip file\)"):
        load_npz(tmp_path / "text.npz")


def test_a_file_cut_short_anywhere(saved: Path) -> None:
    content = saved.read_bytes()
    for length in range(0, len(content), 211):
        saved.write_bytes(content[:length])
        with pytest.raises(ViewerError, match="cannot read"):
            load_npz(saved)


def test_broken_bytes_are_an_error_or_harmless(saved: Path) -> None:
    """Otherwise an error of zipfile, zlib or numpy would reach the user as a traceback."""
    content, rng = saved.read_bytes(), np.random.default_rng(0)
    n_errors = 0
    for _ in range(400):
        broken = bytearray(content)
        # Mostly in the index at the end, which is where zipfile has most to say.
        start = 0 if rng.random() < 0.4 else len(content) - 1500
        for place in rng.integers(start, len(content), 3):
            broken[place] = rng.integers(256)
        saved.write_bytes(broken)
        try:
            load_npz(saved)
        except ViewerError:
            n_errors += 1
    assert n_errors > 200


def test_more_than_can_be_read_again_is_not_written(fields: dict[str, Any], tmp_path: Path) -> None:
    frames = np.broadcast_to(np.uint8(0), (12, 3000, 3000, 3))
    episode = EpisodeTrace(**{**fields, "frames": frames[:, :1]})
    object.__setattr__(episode, "frames", frames)
    with pytest.raises(ViewerError, match="12 steps are more than 256 MiB"):
        save_npz(episode, tmp_path / "e.npz")
    assert os.listdir(tmp_path) == []


def test_where_nothing_can_be_written(episode: EpisodeTrace, tmp_path: Path) -> None:
    with pytest.raises(ViewerError, match=r"cannot record to .*: No such file or directory"):
        save_npz(episode, tmp_path / "none" / "e.npz")
