"""The live page in a headless Chromium: clicks, keys, time, and what it shows.

Skipped where no Chromium is to be found, unless PLASTICRL_REQUIRE_BROWSER is set, as CI does. That
the page computes what Python does is tested in tests/agents/watching/test_living.py.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.viewer.browser import Browser, one_browser
from tests.viewer.live_agents import FREE, SIZE, live_agent

from plasticrl.viewer import save_live

CENTER = FREE // 2
CORNER = 4
"""The free cell in row 1, column 5."""
LEFT, RIGHT = ".world.intact canvas", ".world.ablated canvas"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with one_browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Pages of an agent with modulation, and of one without, trained with a reward that moves."""
    folder = tmp_path_factory.mktemp("pages")
    save_live(live_agent(), folder / "a.html")
    plain: dict[str, Any] = {"modulation": "none", "eta": 0.1, "limit": None, "bound": "none"}
    save_live(live_agent({"goal_moves": 0.1}, **plain), folder / "b.html")
    return {name: (folder / f"{name}.html").as_uri() for name in ("a", "b")}


@pytest.fixture
def live(browser: Browser, pages: dict[str, str]) -> Iterator[Browser]:
    """The page of the first agent, which must end without complaints or requests."""
    browser.open(pages["a"] + "#paused")
    yield browser
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith("data:")] == [pages["a"]]


def steps(browser: Browser, n: int) -> None:
    for _ in range(n):
        browser.press("ArrowRight")


def worlds(browser: Browser) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = browser.value("app.lives.map(({ world }) => world)")
    return found


def largest_traces(browser: Browser) -> list[float]:
    found: list[float] = browser.value(
        "app.lives.map(({ state }) => Math.max(...state.trace.map(Math.abs)))"
    )
    return found


def click_cell(browser: Browser, maze: str, row: int, column: int) -> None:
    """Click the middle of a cell; 0.4 of the wall around the maze is drawn."""
    across, down = ((index - 0.5 + 0.4) / (SIZE - 2 + 0.8) for index in (column, row))
    browser.click(maze, across, down)


def test_both_start_alike_and_without_a_trace(live: Browser) -> None:
    left, right = worlds(live)
    assert left == right
    assert left["agent"] == CENTER
    assert left["goal"] != CENTER
    assert largest_traces(live) == [0, 0]
    assert live.text("#clock") == "episode 1, step 0 / 50"
    assert live.value("app.nets[1].alpha.data.every((value) => value === 0)")
    assert not live.value("app.nets[0].alpha.data.some((value) => value === 0)")


@pytest.mark.parametrize("maze", [LEFT, RIGHT])
def test_a_click_moves_the_reward_and_starts_anew(live: Browser, maze: str) -> None:
    steps(live, 5)
    assert min(largest_traces(live)) > 0
    click_cell(live, maze, 1, 5)
    assert [world["goal"] for world in worlds(live)] == [CORNER, CORNER]
    assert [world["agent"] for world in worlds(live)] == [CENTER, CENTER]
    assert largest_traces(live) == [0, 0]
    assert live.text("#clock") == "episode 2, step 0 / 50"
    assert live.text("#said") == "The reward is in row 1, column 5."


def test_a_click_can_keep_the_trace(live: Browser) -> None:
    live.click("#keep")
    steps(live, 5)
    traces, before = largest_traces(live), worlds(live)
    click_cell(live, LEFT, 1, 5)
    assert largest_traces(live) == traces
    for old, new in zip(before, worlds(live), strict=True):
        assert new == old | {"goal": CORNER, "steps": 0}


def test_a_click_on_a_wall_does_nothing(live: Browser) -> None:
    steps(live, 2)
    before = worlds(live)
    click_cell(live, LEFT, 2, 2)
    live.click(LEFT, 0.5, 0.02)  # the wall around the maze
    assert worlds(live) == before


def test_the_reward_under_the_start_lets_them_start_elsewhere(live: Browser) -> None:
    click_cell(live, LEFT, 3, 3)
    left, right = worlds(live)
    assert left["goal"] == CENTER
    assert left["agent"] == right["agent"] != CENTER


def test_the_keyboard_moves_the_reward(live: Browser) -> None:
    click_cell(live, LEFT, 5, 3)
    live.value(f"document.querySelector('{LEFT}').blur()")
    live.value(f"document.querySelector('{RIGHT}').focus()")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowRight"):  # from (5, 3) to (4, 5)
        live.press(key)
    assert live.text("#said") == "row 4, column 5"
    assert live.text("#clock") == "episode 2, step 0 / 50"
    live.press("Enter")
    assert live.text("#said") == "The reward is in row 4, column 5."
    assert live.value("app.maze.cells[app.lives[0].world.goal]") == [4, 5]


def test_a_found_reward_is_counted_and_drawn(live: Browser) -> None:
    """After the reward, the wait starts again, and the bar of these 20 steps is as high."""
    live.value("while (app.lives[0].waits.length < 3 && app.steps < 50) app.step(); app.draw()")
    waits = live.value("app.lives[0].waits")
    assert live.text(".world.intact .score") == f"{len(waits)}rewards found"
    shown = re.findall(r"\d+", live.text(".world.intact .waits"))
    taken = live.value("app.steps")
    assert [int(number) for number in shown] == [*waits, taken - sum(waits)]
    bars = live.value("app.bins.map(({ rewards }) => rewards)")
    assert sum(bar[0] for bar in bars) == 10 * len(waits)
    assert len(bars) == -(-taken // 20)


def test_an_episode_ends_and_the_next_one_begins(live: Browser) -> None:
    live.value("for (let i = 0; i < 50; i++) app.step(); app.draw()")
    assert live.text("#clock") == "episode 1, step 50 / 50"
    steps(live, 1)
    assert live.text("#clock") == "episode 2, step 1 / 50"


@pytest.mark.parametrize(("key", "button"), [("n", "#new"), ("m", "#move")])
def test_new_episode_and_moved_reward(live: Browser, key: str, button: str) -> None:
    steps(live, 3)
    live.press(key)
    assert live.text("#clock") == "episode 2, step 0 / 50"
    steps(live, 3)
    assert min(largest_traces(live)) > 0
    live.click(button)
    assert live.text("#clock") == "episode 3, step 0 / 50"
    assert largest_traces(live) == [0, 0]
    assert "somewhere else" in live.text("#said")


def test_it_plays_and_pauses(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["a"])
    assert browser.text("#play") == "❚❚"
    browser.wait("app.steps > 2")
    browser.press(" ")
    assert browser.text("#play") == "▶"
    browser.value("find('#speed').value = 'Infinity'")
    browser.click("#play")
    browser.wait("app.episode > 3")
    browser.click("#play")
    assert browser.text("#play") == "▶"
    assert browser.complaints == []


def test_one_seed_is_one_life(browser: Browser, pages: dict[str, str]) -> None:
    lives = []
    for _ in range(2):
        browser.open(pages["a"] + "#paused")
        browser.value("for (let i = 0; i < 70; i++) app.step()")
        lives.append(browser.value("app.lives.map(({ world, waits }) => [world, waits])"))
    assert lives[0] == lives[1]


def test_an_agent_without_modulation_that_knows_moving_rewards(
    browser: Browser, pages: dict[str, str]
) -> None:
    browser.open(pages["b"] + "#paused")
    assert browser.value("document.querySelector('.modulation')") is None
    assert browser.value("find('#keep').checked") is True
    steps(browser, 3)
    assert browser.complaints == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 700, 360])
def test_nothing_is_wider_than_the_window(
    browser: Browser, pages: dict[str, str], width: int, dark: bool
) -> None:
    browser.open(pages["a"] + "#paused", width=width, dark=dark)
    assert browser.value("document.documentElement.scrollWidth") <= width


def test_the_panels_fit_a_small_laptop(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["a"] + "#paused")
    bottom = "document.querySelector('.panels').getBoundingClientRect().bottom"
    top = "document.querySelector('footer').getBoundingClientRect().top"
    assert browser.value(bottom) <= browser.value(top)


def test_the_theme_button(live: Browser) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = live.value(background)
    live.click("#theme")
    assert live.value(background) != light
    live.click("#theme")
    assert live.value(background) == light


def test_a_script_that_fails_shows_a_message(browser: Browser, tmp_path: Path) -> None:
    save_live(live_agent(), tmp_path / "a.html")
    html = (tmp_path / "a.html").read_text()
    html, n = re.subn('(id="arrays">)[^<]*', r"\g<1>!", html)
    assert n == 1
    (tmp_path / "a.html").write_text(html)
    browser.go((tmp_path / "a.html").as_uri())
    browser.wait("!document.getElementById('failed').hidden")
    assert browser.text("#failed").startswith("This page cannot be played here: ")
    assert browser.value("document.querySelector('footer').clientHeight") == 0
