"""The live page without a browser: its data and its text."""

import base64
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from tests.viewer.live_agents import live_agent

from plasticrl.viewer import ViewerError, save_live
from plasticrl.viewer.live import live_page


def part(html: str, name: str) -> str:
    found = re.search(f'id="{name}">(.*?)</script>', html)
    assert found is not None
    return found[1]


def test_the_weights_are_on_the_page() -> None:
    agent = live_agent()
    html = live_page(agent)
    manifest = json.loads(part(html, "manifest"))
    arrays = gzip.decompress(base64.b64decode(part(html, "arrays")))
    for name in ("weight", "alpha"):
        described = manifest["net"][name]
        values = np.frombuffer(arrays, "<f4", 36, described["at"]).reshape(described["shape"])
        np.testing.assert_array_equal(values, agent.net[name])
    assert manifest["net"]["fan_out"] is None
    assert manifest["maze"] == agent.maze
    assert (manifest["seed"], manifest["deterministic"]) == (4, False)


def test_the_page_asks_for_nothing_and_shows_names_as_text() -> None:
    html = live_page(live_agent())
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|url\(|@import|<link rel=\"(?!icon)", html)
    assert "The agent is &lt;random&gt;." in html


@pytest.mark.parametrize(
    ("rate", "words"), [(0.0, "a moved reward starts a new one"), (0.1, "can learn a new place")]
)
def test_the_page_says_what_the_agent_was_trained_with(rate: float, words: str) -> None:
    assert words in live_page(live_agent(maze={"goal_moves": rate}))


def test_an_existing_page_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("old")
    save_live(live_agent(), tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text() == live_page(live_agent())
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ViewerError, match=r"cannot write the live page to .*end in \.html"):
        save_live(live_agent(), tmp_path / "a.htm")
    with pytest.raises(ViewerError, match="no is not a writable folder"):
        save_live(live_agent(), tmp_path / "no" / "a.html")
