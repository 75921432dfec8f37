"""The page without a browser: its arrays, its text and its size."""

import base64
import gzip
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.viewer.conftest import make_scene
from tests.viewer.recordings import cart_pole, maze_pairs, maze_recording, synapses, walls

from plasticrl.viewer import ViewerError, report, save_report
from plasticrl.viewer.packing import Packer
from plasticrl.viewer.report import DETAILS, check_report_path, page, shrunk
from plasticrl.viewer.waits import Waits, first_and_after


def unpacked(packer: Packer) -> bytes:
    return gzip.decompress(base64.b64decode(packer.text()))


def test_arrays_lie_end_to_end_where_they_are_said_to_be() -> None:
    packer = Packer()
    first = packer.add(np.array([-1, 2, 3]), "i1")
    second = packer.add(np.array([[1.5, -2.0]]), "f4")
    assert unpacked(packer) == b"\xff\x02\x03" + bytes(5) + b"\0\0\xc0\x3f" + b"\0\0\0\xc0"
    assert first == {"type": "i1", "shape": [3], "at": 0, "changes": False}
    assert second == {"type": "f4", "shape": [1, 2], "at": 8, "changes": False}


def test_changes_wrap_around() -> None:
    """Otherwise a difference beyond int8 (254, or -2 modulo 256) is unpacked wrongly."""
    packer = Packer()
    packer.add(np.array([[-127], [127], [120]]), "i1", changes=True)
    assert unpacked(packer)[:3] == np.array([-127, -2, -7], np.int8).tobytes()


def test_equal_arrays_are_kept_once() -> None:
    packer = Packer()
    assert packer.add(np.zeros(8), "f4") == packer.add(np.zeros(8), "f4")
    packer.add(np.zeros(8), "i4")  # the same bytes, but of another kind
    assert len(unpacked(packer)) == 64


class Scripts(HTMLParser):
    """The elements of a page, and its scripts as a browser separates them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script":
            self.scripts[-1] += data


def manifest_of(html: str) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(Scripts(html).scripts[0])
    return manifest


def test_the_page_asks_for_nothing() -> None:
    """Otherwise the page loads something from the network: only data: URLs are allowed."""
    html = page(maze_pairs())
    for _, attributes in Scripts(html).elements:
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert re.findall(r"https?:|url\(|@import|fetch\(|XMLHttpRequest|WebSocket", html) == []


@pytest.mark.parametrize(
    "name", ["</script><script>alert(1)</script>", "<!-- <script>", '"><img src=x>', "&lt;b&gt;"]
)
def test_names_are_escaped(name: str) -> None:
    """Otherwise a name in another person's run folder would be run as code."""
    html, plain = page(maze_pairs(preset=name, env_id=name)), page(maze_pairs())
    tags = [tag for tag, _ in Scripts(html).elements]
    assert tags == [tag for tag, _ in Scripts(plain).elements]
    assert manifest_of(html)["episodes"][0]["recordings"][0]["env"] == name


def text_of(html: str, start: str, end: str) -> str:
    part = re.search(re.escape(start) + "(.*?)" + re.escape(end), html, re.DOTALL)
    assert part is not None
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", part[1])).strip()


def test_the_story_by_hand() -> None:
    """Rewards at 10, 15, 20 of 40 give later waits 5, 5, 20; ablated, 12 and 36 give 24 and 4."""
    html = page(maze_pairs())
    assert text_of(html, '<p class="headline">', "</p>") == (
        "Over 2 episodes the plastic network took 10 steps to the first reward, 10 to each later "
        "one. With its plasticity ablated, at the same seeds, it took 12 steps to the first "
        "reward, 14 to each later one."
    )
    assert text_of(html, '<div class="tiles" data-episode="0">', "</div>") == (
        "seed 3 plastic 10 steps to first reward 10 to each later 3 rewards "
        "plasticity ablated 12 steps to first reward 14 to each later 2 rewards"
    )


@pytest.mark.parametrize(
    ("ablated", "told"),
    [
        ((7,), "it took 7 steps to the first reward and found no other."),
        ((), "it found no reward."),
    ],
)
def test_the_story_of_who_finds_little(ablated: tuple[int, ...], told: str) -> None:
    pair = maze_recording(3, False, (10, 15, 20)), maze_recording(3, True, ablated)
    headline = text_of(page([pair]), '<p class="headline">', "</p>")
    assert headline.startswith("In this episode the plastic network took 10 steps")
    assert headline.endswith(told)


def test_episodes_without_a_reward_are_told_apart() -> None:
    pairs = [(maze_recording(4, False, ()), None), (maze_recording(3, False, (10, 20)), None)]
    assert text_of(page(pairs), '<p class="headline">', "</p>") == (
        "Over 2 episodes the plastic network took 10 steps to the first reward "
        "(1 episode had no reward), 15 to each later one."
    )


def test_more_episodes_than_are_shown_tell_the_story() -> None:
    quick, slow = np.zeros(100), np.zeros(100)
    quick[[19, 24, 98]] = 10.0
    slow[[49]] = 10.0
    html = page(maze_pairs(), rewards=([quick] * 3, [slow] * 3))
    assert text_of(html, '<p class="headline">', "</p>") == (
        "Over 3 episodes the plastic network took 20 steps to the first reward, 27 to each later "
        "one. With its plasticity ablated, at the same seeds, it took 50 steps to the first "
        "reward and found no other."
    )


def test_an_agent_that_does_not_learn_has_equal_waits() -> None:
    """An agent with random rewards in easy and hard episodes would seem to learn or to forget."""
    rng = np.random.default_rng(0)
    chances = 1 / rng.uniform(8, 150, 4000)
    first, after = first_and_after([Waits.of(rng.random(200) < chance) for chance in chances])
    assert first == pytest.approx(after, rel=0.06)


def test_an_unfinished_wait_is_told_as_more() -> None:
    tiles = text_of(
        page([(maze_recording(3, False, (7,)), None)]), 'data-episode="0">', "</section>"
    )
    assert tiles == "seed 3 plastic 7 steps to first reward &gt; 33 to each later 1 reward"


def test_missing_parts_are_named() -> None:
    html = page([(cart_pole(), None)])
    assert "In this episode the agent earned 40." in html
    assert text_of(html, '<p class="notes">', "</p>") == (
        "No picture of CartPole-v1; no trace or modulation: no plastic connections; no steps to "
        "each reward: rewards are not rare, or none is above 0; nothing to ablate."
    )


@pytest.mark.parametrize(
    ("ablated", "twin", "told"),
    [
        (False, False, (False, True)),
        (False, True, (True, False)),
        (True, False, (True, False)),
    ],
)
def test_ablation_is_explained_where_it_is_shown(
    ablated: bool, twin: bool, told: tuple[bool, bool]
) -> None:
    """Otherwise a page from an .npz file, which has one recording, mentions an ablated twin."""
    pair = maze_recording(3, ablated, (10,)), maze_recording(3, True, (12,)) if twin else None
    notes = text_of(page([pair]), '<p class="notes">', "</p>")
    said = "Ablated means" in notes, notes.endswith("Recorded without its ablated twin.")
    assert said == told


def test_without_javascript_there_is_a_filmstrip() -> None:
    html = page(maze_pairs())
    still = text_of(html, "<figcaption>", "</figcaption>")
    assert still.startswith(
        "Steps 1, 7, 14, 21, 27, 33, 40 of seed 3, from above: plastic, its Hebbian trace, "
        "plasticity ablated."
    )
    (image,) = [attributes for tag, attributes in Scripts(html).elements if tag == "img"]
    assert (image["src"] or "").startswith("data:image/png;base64,")


def test_levels_of_a_trace_come_back() -> None:
    """Otherwise at the finest detail the page would not have the recorded bytes."""
    recording = maze_pairs()[0][0]
    assert recording.synapses is not None
    html = page([(recording, None)])
    described = manifest_of(html)["episodes"][0]["recordings"][0]["synapses"]["trace"]
    arrays = gzip.decompress(base64.b64decode(Scripts(html).scripts[1]))
    levels = described["levels"]
    count = int(np.prod(levels["shape"]))
    changes = np.frombuffer(arrays, np.int8, count, levels["at"]).reshape(levels["shape"])
    np.testing.assert_array_equal(
        np.cumsum(changes, axis=0, dtype=np.int8), recording.synapses.trace.levels
    )
    assert described["unit"] * 127 == pytest.approx(described["scale"])


def test_what_does_not_fit_is_kept_coarser() -> None:
    pairs = [(maze_recording(3, False, (10,), neurons=64), None)]
    finest = len(page(pairs))
    html = page(pairs, max_bytes=finest - 1)
    assert len(html) < finest
    trace = manifest_of(html)["episodes"][0]["recordings"][0]["synapses"]["trace"]
    assert trace["unit"] * DETAILS[1].levels == pytest.approx(trace["scale"])
    with pytest.raises(ViewerError, match="1 episodes of 40 steps do not fit into a page of 9,999"):
        page(pairs, max_bytes=9_999)


def test_frames_that_fill_no_picture_are_kept_coarser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a sheet exceeds WebP's 16,383 pixels: 40 frames need 7 columns, 20 need 5."""
    pairs = [(cart_pole(frames=np.zeros((40, 40, 60, 3), np.uint8)), None)]
    for limit, every in ((16_383, 1), (420, 1), (419, 2), (300, 2), (299, 4)):
        monkeypatch.setattr(report, "MAX_SHEET", limit)
        frames = manifest_of(page(pairs))["episodes"][0]["recordings"][0]["frames"]
        assert frames["every"] == every
    monkeypatch.setattr(report, "MAX_SHEET", 47)
    with pytest.raises(ViewerError, match="1 episodes of 40 steps do not fit into a page"):
        page(pairs)


def test_the_largest_picture_is_webps() -> None:
    """Otherwise `MAX_SHEET` would not be WebP's limit: one pixel more cannot be written."""
    report._webp(Image.new("RGB", (report.MAX_SHEET, 1)))
    with pytest.raises(ValueError, match="encoding error"):
        report._webp(Image.new("RGB", (report.MAX_SHEET + 1, 1)))


def test_eight_recordings_of_two_hundred_steps_fit() -> None:
    """Otherwise the page is too large. The trace is noise, which compresses worst."""
    steps = 200
    rng = np.random.default_rng(0)

    def recording(seed: int, ablated: bool) -> Any:
        return maze_recording(
            seed,
            ablated,
            (),
            actions=rng.integers(0, 4, steps),
            rewards=rng.integers(0, 30, steps) // 29 * 10.0,
            values=rng.normal(size=steps),
            modulation=rng.normal(size=steps),
            synapses=synapses(64, seed, ablated, steps),
            scene=make_scene(walls(), (5, 3), rng.integers(1, 6, (steps, 2))),
        )

    html = page([(recording(seed, False), recording(seed, True)) for seed in range(4)])
    assert len(html.encode()) <= 5_000_000


def test_frames_are_shrunk_and_not_enlarged() -> None:
    frames = np.zeros((3, 100, 400, 3), np.uint8)
    assert shrunk(frames, 200).shape == (3, 50, 200, 3)
    assert shrunk(frames, 500) is frames


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run.htm", r"cannot report to .*run\.htm: the name must end in \.html"),
        ("missing/run.html", r"/missing is not a writable folder"),
        ("folder.html", r"cannot report to .*folder\.html: it is a folder"),
    ],
)
def test_where_it_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(ViewerError, match=message):
        check_report_path(tmp_path / name)
    with pytest.raises(ViewerError, match=message):
        save_report([(cart_pole(), None)], tmp_path / name)
    assert os.listdir(tmp_path) == ["folder.html"]


def test_an_interrupted_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.html").write_text("old")

    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_report([(cart_pole(), None)], tmp_path / "run.html")
    assert os.listdir(tmp_path) == ["run.html"]
    assert (tmp_path / "run.html").read_text() == "old"


def test_the_same_episodes_make_the_same_page(tmp_path: Path) -> None:
    pairs = [(maze_recording(3, False, (10,)), None)]
    assert page(pairs) == page(pairs)
    save_report(pairs, tmp_path / "run.HTML")
    assert (tmp_path / "run.HTML").read_text() == page(pairs)


def test_no_torch_is_needed() -> None:
    script = "import sys, plasticrl.viewer.report; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_recording_of_one_step() -> None:
    recording = cart_pole(actions=np.zeros(1), rewards=np.ones(1), values=np.zeros(1))
    assert "No picture of CartPole-v1" in page([(recording, None)])
