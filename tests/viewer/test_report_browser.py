"""The page in a headless Chromium, from file://: what it draws and says against the episode.

Skipped where no Chromium is to be found, unless PLASTICRL_REQUIRE_BROWSER is set, as CI does.
"""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.viewer.browser import Browser, one_browser
from tests.viewer.recordings import N_STEPS, SIZE, cart_pole, maze_pairs, maze_recording

from plasticrl.viewer import EpisodeTrace, save_report, story

CSS = (Path(__file__).parents[2] / "viewer" / "page" / "page.css").read_text()
COLORS = {
    name: [tuple(bytes.fromhex(part)) for part in shades]
    for name, *shades in re.findall(r"--(\w+): light-dark\(#(\w{6}), #(\w{6})\)", CSS)
}
"""name -> (light, dark)"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with one_browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def maze_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "maze.html"
    save_report(maze_pairs(), path)
    return path.as_uri()


@pytest.fixture
def maze(browser: Browser, maze_page: str) -> Iterator[Browser]:
    """The page of two mazes at its first step, which must end without complaints or requests."""
    browser.open(maze_page)
    yield browser
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith("data:")] == [maze_page]


def pixel(browser: Browser, selector: str, across: float, down: float) -> tuple[int, ...]:
    """The color of a canvas at a share of its width and height."""
    script = (  # from a copy: reading the page's own would make the browser warn
        f"(() => {{ const canvas = document.querySelector({selector!r});"
        "const copy = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});"
        f"copy.drawImage(canvas, -Math.floor({across} * canvas.width),"
        f" -Math.floor({down} * canvas.height));"
        "return Array.from(copy.getImageData(0, 0, 1, 1).data).slice(0, 3); })()"
    )
    return tuple(browser.value(script))


def heat(value: float, scale: float, dark: bool = False) -> np.ndarray:
    """The color of a matrix's entry: neutral + sqrt(|value| / scale) (end - neutral)."""
    end = COLORS["negative" if value < 0 else "positive"][dark]
    neutral = np.array(COLORS["neutral"][dark])
    return neutral + np.sqrt(abs(value) / scale) * (np.array(end) - neutral)


def assert_matrix(
    browser: Browser, selector: str, matrix: np.ndarray, scale: float, dark: bool = False
) -> None:
    """Check that a sample of the entries are at their places and in their colors."""
    rows, columns = matrix.shape
    for row, column in [(0, 0), (rows - 1, 1), (2, columns - 1), (rows // 2, columns // 3)]:
        place = (column + 0.5) / columns, (row + 0.5) / rows
        shown = pixel(browser, selector, *place)
        np.testing.assert_allclose(shown, heat(matrix[row, column], scale, dark), atol=2)


def trace_of(recording: EpisodeTrace, step: int) -> np.ndarray:
    assert recording.synapses is not None
    return recording.synapses.trace.at(step - 1)


def step_shown(browser: Browser) -> int:
    return int(browser.value("document.documentElement.dataset.drawn"))


def assert_says(browser: Browser, recording: EpisodeTrace, step: int) -> None:
    """Check the numbers of one step and the picture of the trace."""
    assert recording.synapses is not None
    assert recording.modulation is not None
    assert browser.text("#clock") == f"step {step} / {N_STEPS}"
    captions = browser.value(
        "Array.from(document.querySelectorAll('.caption'), c => c.textContent)"
    )
    mean, modulation = recording.synapses.trace_abs_mean[step - 1], recording.modulation[step - 1]
    assert [caption.rpartition(" ")[2] for caption in captions] == [
        f"{modulation:.3f}",
        f"{mean:.3f}",
    ]
    kind = "ablated" if recording.ablated else "intact"
    assert browser.text(f".world.{kind} .total") == f"earned {recording.rewards[:step].sum():.0f}"
    assert_matrix(
        browser, ".trace canvas", trace_of(recording, step), recording.synapses.trace.scale
    )


def test_it_opens_at_the_first_step(maze: Browser) -> None:
    assert maze.value("document.title") == "plasticrl/GridMaze-v0"
    assert_says(maze, maze_pairs()[0][0], 1)


@pytest.mark.parametrize(("across", "near"), [(0.25, 11), (0.9, 36)])
def test_the_scrubber_moves_to_a_step(maze: Browser, across: float, near: int) -> None:
    maze.click("#step", across)
    step = step_shown(maze)
    assert abs(step - near) <= 2
    assert_says(maze, maze_pairs()[0][0], step)


def test_the_maze_is_drawn_with_agent_goal_walls_and_path(browser: Browser, maze_page: str) -> None:
    browser.open(maze_page + "#t=13")  # 2 steps after a reward: the path is three cells long
    recording = maze_pairs()[0][0]

    def color_at(row: float, column: float) -> tuple[int, ...]:
        place = (column + 0.5) / SIZE, (row + 0.5) / SIZE
        return pixel(browser, ".world.intact canvas", *place)

    assert recording.scene is not None
    path = recording.scene.path_to(12, recording.rewards)
    assert len({tuple(place) for place in path}) == 3
    for place in path:
        assert color_at(*place) == COLORS["agent"][0]
    halves = (path[:-1] + path[1:]) / 2
    for place in halves:
        assert color_at(*place) == COLORS["agent"][0]
    assert color_at(5, 3) == COLORS["goal"][0]
    assert color_at(2, 2) == color_at(0, 3) == COLORS["wall"][0]
    assert color_at(4, 1) == COLORS["floor"][0]  # never been there


def test_the_goal_is_lit_at_the_steps_that_earned(browser: Browser, maze_page: str) -> None:
    """Otherwise the page would light the goal at other steps than films and stills do."""
    recording = maze_pairs()[0][0]
    for step in (9, 10, 11, 15):
        browser.open(f"{maze_page}#t={step}")
        between = pixel(browser, ".world.intact canvas", 3.75 / SIZE, 5.5 / SIZE)  # dot and ring
        assert (between == COLORS["goal"][0]) is story.is_hit(recording, step - 1)


def test_ablation_is_toggled_by_button_key_and_picture(maze: Browser) -> None:
    intact, ablated = maze_pairs()[0]
    assert ablated is not None
    for toggle, shown in [
        (lambda: maze.click("#net [data-which='1']"), ablated),
        (lambda: maze.press("a"), intact),
        (lambda: maze.press("a"), ablated),
        (lambda: maze.click(".world.intact canvas"), intact),
    ]:
        toggle()
        assert_says(maze, shown, 1)
        pressed = maze.text("#net [aria-pressed='true']")
        assert pressed == ("ablated" if shown.ablated else "plastic")


def test_the_weights_with_the_trace_alone_and_the_difference(
    browser: Browser, maze_page: str
) -> None:
    browser.open(maze_page + "#t=30&episode=2")
    pair = maze_pairs()[1]
    synapses = pair[0].synapses
    assert synapses is not None
    changes = synapses.alpha * np.stack([synapses.trace.at(step) for step in range(N_STEPS)])
    scale = max(np.abs(synapses.weight + changes).max(), np.abs(synapses.weight).max())
    views = {
        "sum": synapses.weight + changes[29],
        "weight": synapses.weight,
        "change": changes[29],
    }
    for view, matrix in views.items():
        browser.click(f".weights [data-view='{view}']")
        assert_matrix(browser, ".weights canvas", matrix, scale)
    browser.press("a")  # still the difference: nothing where alpha is zero
    assert_matrix(browser, ".weights canvas", 0 * changes[29], scale)
    browser.press("w")
    browser.press("w")
    assert browser.text(".weights [aria-pressed='true']") == "w"


def test_the_page_multiplies_no_means(browser: Browser, tmp_path: Path) -> None:
    """Otherwise the page shows mean(alpha) * mean(trace) instead of mean(alpha * trace)."""
    pair = maze_recording(3, False, (10,), neurons=70), None
    save_report([pair], tmp_path / "pooled.html")
    browser.open((tmp_path / "pooled.html").as_uri() + "#t=40")
    synapses = pair[0].synapses
    assert synapses is not None
    assert synapses.block == 2
    browser.click(".weights [data-view='change']")
    scale = float(browser.text(".weights .note").rpartition("±")[2])
    change = synapses.change.at(39)
    np.testing.assert_allclose(
        pixel(browser, ".weights canvas", 0.5 / 35, 0.5 / 35), heat(change[0, 0], scale), atol=4
    )
    assert browser.text(".trace .note") == "70 \u00d7 70, means of 2 \u00d7 2"


def test_pointing_at_an_entry_reads_it(maze: Browser) -> None:
    recording = maze_pairs()[0][0]
    for _ in range(20):
        maze.press("ArrowRight")
    maze.point(".trace canvas", across=3.5 / 12, down=10.5 / 12)
    entry = trace_of(recording, 21)[10, 3]
    assert maze.text(".trace .note") == f"from 3 to 10: {entry:.3f}"
    maze.press("ArrowRight")
    assert maze.text(".trace .note") == f"from 3 to 10: {trace_of(recording, 22)[10, 3]:.3f}"
    maze.point("h1")
    assert maze.text(".trace .note") == "12 \u00d7 12"


def test_a_click_on_a_series_goes_to_its_step(maze: Browser) -> None:
    maze.click("[data-series='abs-mean']", across=0.6)
    step = step_shown(maze)
    assert 20 < step < 27
    assert_says(maze, maze_pairs()[0][0], step)


def test_keys(maze: Browser) -> None:
    for key, shift, step in [
        ("ArrowRight", False, 2),
        ("ArrowRight", True, 12),
        ("ArrowLeft", False, 11),
        ("ArrowLeft", True, 1),
        ("ArrowLeft", False, 1),
        ("End", False, N_STEPS),
        ("ArrowRight", False, N_STEPS),
        ("Home", False, 1),
    ]:
        maze.press(key, shift)
        assert step_shown(maze) == step
    maze.press(" ")
    assert maze.text("#play") == "❚❚"
    maze.wait("Number(document.documentElement.dataset.drawn) > 3")
    maze.press(" ")
    assert maze.text("#play") == "▶"
    step = step_shown(maze)
    maze.wait(f"location.hash === '#t={step}&episode=1'")
    assert step_shown(maze) == step


def test_it_plays_to_the_end_and_from_there_from_the_start(maze: Browser) -> None:
    maze.value("document.getElementById('speed').value = '60'")
    maze.click("#play")
    maze.wait(f"document.documentElement.dataset.drawn === '{N_STEPS}'")
    assert maze.text("#play") == "▶"
    maze.click("#play")
    maze.wait("Number(document.documentElement.dataset.drawn) < 20")
    maze.press("Home")


def test_one_loop_plays_at_a_time(maze: Browser) -> None:
    """Otherwise stopping and playing before the next frame is drawn would start a second loop."""
    waiting = maze.value(
        "(() => { const waiting = new Set();"
        "const [ask, cancel] = [requestAnimationFrame, cancelAnimationFrame];"
        "window.requestAnimationFrame = (act) => {"
        "  const id = ask((now) => { waiting.delete(id); act(now); });"
        "  waiting.add(id); return id; };"
        "window.cancelAnimationFrame = (id) => { waiting.delete(id); cancel(id); };"
        "const play = document.getElementById('play');"
        "play.click(); play.click(); play.click();"
        "return waiting.size; })()"
    )
    assert waiting == 1
    maze.press("Home")
    assert maze.text("#play") == "▶"


def test_a_held_space_plays_once(maze: Browser) -> None:
    held = "new KeyboardEvent('keydown', {key: ' ', repeat: true, bubbles: true})"
    maze.press(" ")
    maze.value(f"document.body.dispatchEvent({held})")
    assert maze.text("#play") == "❚❚"
    maze.press("Home")


def test_a_deep_link_and_the_episode_picker(browser: Browser, maze_page: str) -> None:
    browser.open(maze_page + "#t=17&episode=2&ablated")
    second = maze_pairs()[1]
    assert second[1] is not None
    assert_says(browser, second[1], 17)
    assert browser.value("document.getElementById('episode').value") == "1"
    browser.value("location.hash = '#t=999&episode=1'")
    browser.wait(f"document.documentElement.dataset.drawn === '{N_STEPS}'")
    assert_says(browser, maze_pairs()[0][0], N_STEPS)
    browser.value(
        "{ const select = document.getElementById('episode'); select.value = '1';"
        "select.dispatchEvent(new Event('change')); }"
    )
    assert_says(browser, second[0], 1)
    tiles = "Array.from(document.querySelectorAll('.tiles'), one => one.hidden)"
    assert browser.value(tiles) == [True, False]
    assert browser.complaints == []


def test_dark_by_the_systems_wish_and_by_the_button(browser: Browser, maze_page: str) -> None:
    first = maze_pairs()[0][0]
    assert first.synapses is not None
    browser.open(maze_page + "#t=9", dark=True)
    options = trace_of(first, 9), first.synapses.trace.scale
    assert_matrix(browser, ".trace canvas", *options, dark=True)
    browser.click("#theme")
    assert_matrix(browser, ".trace canvas", *options)
    browser.click("#theme")
    assert_matrix(browser, ".trace canvas", *options, dark=True)


@pytest.mark.parametrize("width", [1280, 700, 360])
def test_nothing_is_wider_than_the_window(browser: Browser, maze_page: str, width: int) -> None:
    browser.open(maze_page, width=width)
    assert browser.value("document.documentElement.scrollWidth") <= width


def test_the_panels_fit_a_small_laptop(browser: Browser, maze_page: str) -> None:
    """Otherwise a reader would have to scroll to see all panels at 1280 x 800."""
    browser.open(maze_page)
    bottom = "document.getElementById('panels').getBoundingClientRect().bottom"
    top = "document.querySelector('footer').getBoundingClientRect().top"
    assert browser.value(bottom) <= browser.value(top)


def test_a_hostile_name_is_only_a_name(browser: Browser, tmp_path: Path) -> None:
    name = "</script></title><img src=x onerror=alert(1)><!--<script>"
    save_report(maze_pairs(preset=name, env_id=name), tmp_path / "page.html")
    browser.open((tmp_path / "page.html").as_uri())
    assert browser.text("h1") == browser.text(".preset") == browser.value("document.title") == name
    assert browser.value("document.querySelectorAll('img:not(.still img)').length") == 0
    assert browser.complaints == []


def test_an_lstm_on_cart_pole(browser: Browser, tmp_path: Path) -> None:
    """Otherwise the page draws more than the critic's value, or does not name missing parts."""
    save_report([(cart_pole(), None)], tmp_path / "page.html")
    browser.open((tmp_path / "page.html").as_uri() + "#t=40&ablated")
    assert browser.value("document.querySelectorAll('.panel').length") == 1
    assert browser.text(".caption") == "critic's value 9.000"
    assert browser.text(".notes").startswith("No picture of CartPole-v1; ")
    assert browser.value("document.getElementById('net')") is None
    browser.press("a")
    browser.press("w")
    assert browser.complaints == []


def test_frames_of_any_environment(browser: Browser, tmp_path: Path) -> None:
    """Otherwise the page shows a wrong frame. A shorter recording stays at its last frame."""
    shades = np.linspace(20, 230, N_STEPS).astype(np.uint8)
    frames = np.broadcast_to(shades[:, None, None, None], (N_STEPS, 40, 60, 3)).copy()
    frames[:, :, 30:] = 255 - frames[:, :, 30:]
    save_report([(cart_pole(frames=frames), None)], tmp_path / "page.html")
    page = (tmp_path / "page.html").as_uri()
    for step in (1, 17, N_STEPS):
        browser.open(f"{page}#t={step}")
        for across, shade in ((0.2, shades[step - 1]), (0.8, 255 - shades[step - 1])):
            shown = pixel(browser, ".world canvas", across, 0.5)
            np.testing.assert_allclose(shown, [shade] * 3, atol=6)
    assert browser.complaints == []


def test_without_javascript_it_is_a_filmstrip(browser: Browser, maze_page: str) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.resize(1280, 1200)
        browser.go(maze_page)
        picture = np.asarray(Image.open(BytesIO(browser.screenshot())).convert("RGB"))
        goal = np.abs(picture.astype(int) - (92, 207, 138)).max(axis=2) < 30
        assert goal.sum() > 14 * 20  # a ring in 7 stills of either recording
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("broken", ["!", "H4sIAAAA"])
def test_a_script_that_fails_leaves_the_filmstrip(
    browser: Browser, tmp_path: Path, broken: str
) -> None:
    """Otherwise a truncated file or an old browser shows a blank page."""
    save_report(maze_pairs(), tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    html, n = re.subn('(id="arrays">)[^<]*', rf"\g<1>{broken}", html)
    assert n == 1
    (tmp_path / "page.html").write_text(html)
    browser.go((tmp_path / "page.html").as_uri())
    browser.wait("!document.getElementById('failed').hidden")
    assert browser.text("#failed").startswith("This page cannot be played here: ")
    assert browser.value("document.querySelector('.still img').clientWidth") > 500
    assert browser.value("document.querySelector('footer').clientHeight") == 0


def test_a_script_that_works_hides_the_filmstrip(maze: Browser) -> None:
    assert maze.value("document.querySelector('.still').clientHeight") == 0
    assert maze.value("document.getElementById('failed').clientHeight") == 0
