"""The terminal: everything within its size; plain lines where nothing can be drawn."""

from io import StringIO
from typing import Any

import numpy as np
import pytest
from rich.console import Console, ConsoleDimensions
from rich.text import Text

from plasticrl.viewer import EpisodeTrace, ViewerError, watch
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


def test_what_is_on_the_screen(episode: EpisodeTrace) -> None:
    lines = lines_of(Screen(episode, ConsoleDimensions(80, 24), no_color=False), 3)
    assert lines[0].startswith("maze [bold]9 x 9[/bold]")
    assert lines[0].endswith("step 4/12  reward 10")
    assert lines[2].startswith("##03##   trace -")
    assert lines[3] == "#    #   " + "▀" * 20
    assert lines[-2].startswith("modulation  ")
    assert lines[-1].startswith("rewards     ")


def test_parts_that_were_not_recorded_are_left_out(fields: dict[str, Any]) -> None:
    absent = dict.fromkeys(("texts", "synapses", "modulation"))
    episode = EpisodeTrace(**{**fields, **absent})
    lines = lines_of(Screen(episode, ConsoleDimensions(80, 24), no_color=False), 0)
    assert len(lines) == 4
    assert lines[-1].startswith("rewards")


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
    episode: EpisodeTrace, options: dict[str, Any]
) -> None:
    assert played(episode, width=20, **{"color_system": "truecolor", **options}) == (
        "maze [bold]9 x 9[/bold]\n"
        "step 4: reward +10, total 10\n"
        "step 8: reward -0.5, total 9.5\n"
        "12 steps, 2 rewarded, total reward 9.5\n"
    )


def test_sparklines_by_hand() -> None:
    assert Sparkline.of_means(np.array([0.0, 0.0, 7.0, 7.0, 3.0, 3.0]), 3).characters == "▁█▄"
    assert Sparkline.of_sums(np.array([0.0, 0.0, -1.0, 0.0, 4.0, 4.0]), 3).characters == " ▁█"


def test_a_speed_that_is_none(episode: EpisodeTrace) -> None:
    with pytest.raises(ViewerError, match="fps must be above 0, not 0"):
        watch(episode, Console(file=StringIO()), fps=0)
