"""The terminal: nothing exceeds its size; plain lines are printed where nothing can be drawn."""

import re
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console, ConsoleDimensions
from rich.text import Text
from tests.viewer.conftest import make_maze, make_synapses

from plasticrl.viewer import EpisodeTrace, Scene, Symbol, ViewerError, record, theme, watch
from plasticrl.viewer.screen import Screen
from plasticrl.viewer.sparkline import Sparkline

FAST = 1e6


def lines_of(screen: Screen, step: int) -> list[str]:
    return screen.picture(step).plain.split("\n")


def played(episode: EpisodeTrace, **options: Any) -> str:
    file = StringIO()
    options = {"width": 80, "height": 24, "force_terminal": True, "_environ": {}, **options}
    watch(episode, Console(file=file, **options), fps=FAST)
    return file.getvalue()


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (40, 12), (20, 6), (5, 2), (1, 1)])
def test_every_step_fits_the_terminal(episode: EpisodeTrace, size: tuple[int, int]) -> None:
    screen = Screen(episode, ConsoleDimensions(*size), no_color=False)
    for step in range(episode.n_steps):
        lines = screen.picture(step).split("\n", allow_blank=True)
        assert len(lines) <= max(1, size[1] - 1)
        assert max(line.cell_len for line in lines) <= size[0]


def test_what_is_on_the_screen(fields: dict[str, Any]) -> None:
    episode = EpisodeTrace(**{**fields, "scene": None})
    lines = lines_of(Screen(episode, ConsoleDimensions(80, 24), no_color=False), 3)
    assert lines[0].startswith("maze [bold]9 x 9[/bold]")
    assert lines[0].endswith("step 4/12  reward 10")
    assert lines[1] == ""
    assert lines[2].startswith("##03##" + 21 * " " + "trace -")
    assert lines[3] == "#    #" + 21 * " " + "▀" * 20
    assert lines[5].split()[:2] == ["value", f"{fields['values'][3]:+.2f}"]
    names = [line[:14].strip() for line in lines[-3:]]
    assert names == ["modulation", "mean |trace|", "rewards"]


@pytest.mark.parametrize("no_color", [False, True])
def test_a_maze_with_its_path(fields: dict[str, Any], no_color: bool) -> None:
    """At step 6 the path since the reward of step 3 is shown, which began at column 1."""
    episode = EpisodeTrace(**{**fields, **make_maze()})
    lines = lines_of(Screen(episode, ConsoleDimensions(80, 24), no_color), 6)
    assert lines[2].startswith("██" * 9 + " ")
    assert lines[3].startswith("██• • ●     ◎   ██ ")
    assert len([line for line in lines if line.startswith("██")]) == 9
    words = [line[:24].strip() for line in lines]
    assert words[words.index("steps to each reward") + 1] == "4"  # at step 7 it would be "4 4"


@pytest.mark.parametrize(
    ("height", "caption", "first"), [(24, "each reward", 10), (14, "last rewards", 18)]
)
def test_the_last_rewards_are_told_where_not_all_find_room(
    fields: dict[str, Any], height: int, caption: str, first: int
) -> None:
    """Otherwise the rewards late in a long episode are missing."""
    waits = np.arange(10, 26)  # eight in a line
    n_steps = int(waits.sum())
    rewards = np.zeros(n_steps)
    rewards[np.cumsum(waits) - 1] = 10
    traces = np.zeros((n_steps, 20, 20), np.float32)
    numbers = {"rewards": rewards, "values": rewards, "modulation": rewards}
    shown = {"frames": None, "texts": None, "actions": rewards.astype(int), "scene": None}
    episode = EpisodeTrace(**{**fields, **numbers, **shown, "synapses": make_synapses(traces)})
    screen = Screen(episode, ConsoleDimensions(80, height), no_color=False)
    words = [line[:24].split() for line in lines_of(screen, n_steps - 1)]
    told = words[words.index(["steps", "to", *caption.split()]) + 1 :]
    assert told[0] == [str(wait) for wait in range(first, first + 8)]
    assert told[(25 - first) // 8][-1] == "25"


def test_a_maze_is_larger_where_there_is_room(fields: dict[str, Any]) -> None:
    """A cell has 4 x 4 pixels: walls fill it, and the agent leaves the floor at the corners."""
    episode = EpisodeTrace(**{**fields, **make_maze()})
    picture = Screen(episode, ConsoleDimensions(120, 40), no_color=False).picture(6)
    line = picture.split("\n", allow_blank=True)[2 + 2]  # the upper half of the corridor
    console = Console()
    styles = [line.get_style_at_offset(console, x) for x in range(36)]
    upper = [style.color.triplet for style in styles if style.color]
    assert tuple(upper[0]) == theme.WALL  # type: ignore[arg-type]
    assert [tuple(c) == theme.AGENT for c in upper[12:16]] == [False, True, True, False]  # type: ignore[arg-type]
    assert [tuple(c) == theme.REWARD for c in upper[24:28]] == [False, True, True, False]  # type: ignore[arg-type]


@pytest.mark.parametrize(("no_color", "n_lines"), [(False, 25), (True, 0)])
def test_a_maze_that_is_too_large(fields: dict[str, Any], no_color: bool, n_lines: int) -> None:
    """A cell has one pixel; the scene is left out where pixels cannot be drawn."""
    episode = EpisodeTrace(**{**fields, **make_maze(n_rows=50), "synapses": None})
    screen = Screen(episode, ConsoleDimensions(80, 31), no_color)
    assert len([line for line in lines_of(screen, 6) if line.startswith("▀" * 9)]) == n_lines


def rows_of_symbols(n_rows: int, n_columns: int) -> Scene:
    """Bits in rows, of which row 1 is the goal, and at step 5 the one in sight; go at step 6."""
    symbols = (
        Symbol("nothing", " ", "empty", "muted", False),
        Symbol("+", "■", "tile", "positive", False),
        Symbol("-", "□", "tile", "negative", True),
        Symbol("target", "◎", "ring", "goal", False),
        Symbol("in sight", "►", "right", "agent", False),
    )
    grid = np.zeros((12, n_rows, 2 + n_columns), np.uint8)
    grid[:, :, 2:] = 1 + np.arange(n_columns) % 2
    grid[:, 1, 1], grid[5, 1, 0] = 3, 4
    captions = tuple("go: was it shown?" if step == 6 else "" for step in range(12))
    return Scene(
        symbols=symbols, grid=grid, captions=captions, actions=("no", "yes"), goal="target"
    )


@pytest.mark.parametrize(
    ("n_columns", "rows"),
    [
        (3, {4: ["    ■ □ ■", "  ◎ ■ □ ■"], 5: ["    ■ □ ■", "► ◎ ■ □ ■"]}),
        (21, {4: ["  " + "■□" * 10 + "■", " ◎" + "■□" * 10 + "■"]}),
    ],
)
def test_rows_of_symbols_with_a_caption(
    fields: dict[str, Any], n_columns: int, rows: dict[int, list[str]]
) -> None:
    """A cell has two columns, or one where there is less room."""
    changes = {"scene": rows_of_symbols(2, n_columns), "actions": np.ones(12, int)}
    screen = Screen(EpisodeTrace(**{**fields, **changes}), ConsoleDimensions(80, 20), no_color=True)
    for step, expected in rows.items():
        assert [line[:24].rstrip() for line in lines_of(screen, step)[2:5]] == [*expected, ""]
    shown = [line[:24].rstrip() for line in lines_of(screen, 6)[2:8]]
    assert shown[2:4] == ["", "go: was it shown?"]
    assert shown[5].split() == ["action", "yes"]


def test_shapes_in_large_cells(fields: dict[str, Any]) -> None:
    """Tiles leave a gap, faint symbols are pale, and an empty cell has the background's color."""
    changes = {"scene": rows_of_symbols(2, 3)}
    screen = Screen(
        EpisodeTrace(**{**fields, **changes}), ConsoleDimensions(120, 40), no_color=False
    )
    line = screen.picture(4).split("\n", allow_blank=True)[2]
    styles = [line.get_style_at_offset(Console(), x) for x in range(20)]
    upper = [tuple(style.color.triplet) for style in styles if style.color and style.color.triplet]
    pale = theme.dimmed(theme.NEGATIVE, 0.55)
    back = theme.BACKGROUND
    assert upper == [back] * 8 + [*[theme.POSITIVE] * 3, back, *[pale] * 3, back] + [
        *[theme.POSITIVE] * 3,
        back,
    ]


def test_a_picture_in_half_blocks(fields: dict[str, Any]) -> None:
    """An environment of which only frames are known, with red above and blue below."""
    frames = np.zeros((12, 40, 40, 3), np.uint8)
    frames[:, :20, :, 0] = frames[:, 20:, :, 2] = 255
    changes = {"frames": frames, "texts": None, "scene": None, "synapses": None}
    screen = Screen(
        EpisodeTrace(**{**fields, **changes}), ConsoleDimensions(80, 25), no_color=False
    )
    lines = screen.picture(0).split("\n", allow_blank=True)[2:21]
    assert all(line.plain.startswith("▀" * 38) for line in lines)  # 25 - 4 - 2 rows, twice as wide
    style = lines[9].get_style_at_offset(Console(), 5)
    assert style.color is not None
    assert style.bgcolor is not None
    assert style.color.triplet == (255, 0, 0)
    assert style.bgcolor.triplet == (0, 0, 255)


def test_parts_that_were_not_recorded_are_left_out_and_named(fields: dict[str, Any]) -> None:
    absent = dict.fromkeys(("frames", "texts", "synapses", "modulation", "values"))
    episode = EpisodeTrace(**{**fields, **absent, "scene": None, "env_id": "CartPole-v1"})
    lines = lines_of(Screen(episode, ConsoleDimensions(80, 24), no_color=False), 11)
    note = "no picture of CartPole-v1; no trace or modulation: no plastic connections"
    assert lines[1] == note
    assert lines[2:-1] == [""]
    assert lines[-1].startswith("rewards")


def test_the_strips_stand_still_while_the_numbers_grow(fields: dict[str, Any]) -> None:
    episode = EpisodeTrace(**{**fields, **make_maze(), "synapses": None})
    screen = Screen(episode, ConsoleDimensions(80, 24), no_color=False)
    assert len({screen.picture(step).plain.count("\n") for step in range(12)}) == 1


def test_escape_codes_of_a_text_do_not_reach_the_terminal(fields: dict[str, Any]) -> None:
    """Otherwise a file from another person would clear the screen or set its title."""
    text = "\x1b[2J\x1b]0;owned\x1b\\\x1b(0\x1bc\x1b[31mred\x1b[0m"
    changes = {"texts": (text,) * 12, "scene": None}
    shown = played(EpisodeTrace(**{**fields, **changes}), color_system="truecolor")
    assert "red" in shown
    assert not set("\x1b\r") & set(re.sub(r"\x1b\[[0-9;?]*[mhlAK]|\r", "", shown))
    assert not any(code in shown for code in ("\x1b[2J", "\x1b]", "\x1b(", "\x1bc"))


def test_links_of_a_text_do_not_reach_the_terminal(fields: dict[str, Any]) -> None:
    """Otherwise a file from another person could show links to any address; colors stay."""
    link = "\x1b[31mA\x1b]8;;https://example.com/owned\x1b\\B\x1b]8;;\x1b\\"
    changes = {"texts": (link,) * 12, "scene": None}
    shown = played(EpisodeTrace(**{**fields, **changes}), color_system="truecolor")
    assert "AB" in Text.from_ansi(shown).plain
    assert "\x1b[31mA" in shown
    assert "\x1b]8" not in shown
    assert "example.com" not in shown


def test_the_terminal_sees_the_last_step(episode: EpisodeTrace) -> None:
    shown = Text.from_ansi(played(episode, color_system="truecolor")).plain
    assert "step 1/12" in shown
    assert "step 12/12  reward 9.5" in shown


def test_no_color_is_honoured_and_the_trace_still_readable(episode: EpisodeTrace) -> None:
    shown = played(episode, color_system="truecolor", no_color=True)
    assert "38;2;" not in shown
    assert "48;2;" not in shown
    assert "█" in shown
    assert "▀" not in shown


@pytest.mark.parametrize("options", [{"force_terminal": False}, {"_environ": {"TERM": "dumb"}}])
def test_plain_lines_where_nothing_can_be_drawn(
    fields: dict[str, Any], options: dict[str, Any]
) -> None:
    trace = np.linspace(0, -0.6, 12)[:, None, None] * np.ones((3, 3))
    episode = EpisodeTrace(**{**fields, "synapses": make_synapses(trace)})
    assert played(episode, width=20, **{"color_system": "truecolor", **options}) == (
        "maze [bold]9 x 9[/bold]\n"
        "step 4: reward +10, total 10\n"
        "step 8: reward -0.5, total 9.5\n"
        "mean |trace| 0 after the first step, 0.6 after the last\n"
        "12 steps, terminated, 2 rewarded, total reward 9.5\n"
    )


def test_sparklines_by_hand() -> None:
    series = np.array([0.0, 0.0, 7.0, 7.0, 3.0, 3.0])
    assert Sparkline.of_means(series, 3, theme.MODULATION).characters == "▁█▄"
    assert Sparkline.of_sums(np.array([0.0, 0.0, -1.0, 0.0, 4.0, 4.0]), 3).characters == " ▁█"


def test_rewards_at_every_step_are_not_told_one_by_one(fields: dict[str, Any]) -> None:
    """Otherwise CartPole, with a reward at every step, would fill the log."""
    episode = EpisodeTrace(**{**fields, "rewards": np.ones(12), "synapses": None})
    assert played(episode, force_terminal=False) == (
        "maze [bold]9 x 9[/bold]\n"
        "no trace or modulation: no plastic connections\n"
        "12 steps, terminated, 12 rewarded, total reward 12\n"
    )


@pytest.mark.parametrize("size", [1e-300, 1e99, 0.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (64, 1)])
def test_numbers_of_any_size_and_nets_of_any_shape(
    fields: dict[str, Any], tmp_path: Path, size: float, shape: tuple[int, int]
) -> None:
    """Otherwise extreme numbers, or a file from another person, end in a traceback."""
    series = np.linspace(-size, size, 12)
    trace = np.clip(series, -1e38, 1e38)[:, None, None] * np.ones(shape)
    changes = {"rewards": series, "values": series, "modulation": series}
    frames = np.zeros((12, *shape, 3), np.uint8)
    changes |= {"synapses": make_synapses(trace), "frames": frames, "scene": None}
    episode = EpisodeTrace(**{**fields, **changes})
    assert "step 12/12" in Text.from_ansi(played(episode)).plain
    played(episode, force_terminal=False)
    record(episode, tmp_path / "run.gif")
    without_texts = EpisodeTrace(**{**fields, **changes, "texts": None})
    played(without_texts, color_system="truecolor")


def test_a_speed_that_is_none(episode: EpisodeTrace) -> None:
    with pytest.raises(ViewerError, match="fps must be above 0, not 0"):
        watch(episode, Console(file=StringIO()), fps=0)
