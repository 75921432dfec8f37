"""The frames of a film: the layout of the picture, and the drawing of each step."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from plasticrl.viewer import panels, story, theme
from plasticrl.viewer.episode import EpisodeTrace

MARGIN = 20
_HEADER, _CAPTION = 76, 22
_MODULATION, _REWARDS = 56, 36
_LEGEND_WIDTH, _LEGEND_HEIGHT = 72, 8
_NAME_WIDTH = 90
"""Pixels for the word "environment" above its panel."""

WIDTH = 2 * panels.SIDE + 3 * MARGIN
_STRIP_WIDTH = WIDTH - 2 * MARGIN
_PANELS_TOP = _HEADER + _CAPTION
_TRACE_LEFT = WIDTH - MARGIN - panels.SIDE


@dataclass(frozen=True)
class _Strip:
    """A series over the whole episode, dim for the steps that are still to come."""

    top: int
    name: str
    note: str
    dim: Image.Image
    bright: Image.Image


class FilmFrames:
    """Draws the frames of one episode. What is the same in all of them is drawn once."""

    def __init__(self, episode: EpisodeTrace) -> None:
        self.episode = episode
        self.totals = np.cumsum(episode.rewards)
        self.absences = story.absences(episode, shows_texts=False)
        self.trace = None if episode.synapses is None else episode.synapses.trace
        self.strips = self._strips(_PANELS_TOP + panels.SIDE + MARGIN)
        self.still = self._still()

    def frames(self, every: int = 1) -> Iterator[Image.Image]:
        """Yield RGB images of the same size for the steps 0, ``every``, 2 ``every`` and so on."""
        return (self._frame(step) for step in range(0, self.episode.n_steps, every))

    def _strips(self, top: int) -> list[_Strip]:
        rewards = self.episode.rewards
        strips = []
        if (modulation := self.episode.modulation) is not None:
            dim, bright = (
                panels.line(modulation, _STRIP_WIDTH, _MODULATION, color)
                for color in (theme.dimmed(theme.MODULATION), theme.MODULATION)
            )
            span = f"{modulation.min():+.2f} to {modulation.max():+.2f}"
            strips.append(_Strip(top, "modulation, mean over neurons", span, dim, bright))
            top += _CAPTION + _MODULATION + MARGIN // 2
        elif "modulation" in self.absences:
            top += _CAPTION
        colors = theme.REWARD, theme.PUNISHMENT
        bright = panels.ticks(rewards, _STRIP_WIDTH, _REWARDS, *colors)
        dim = panels.ticks(rewards, _STRIP_WIDTH, _REWARDS, *map(theme.dimmed, colors))
        return [*strips, _Strip(top, "rewards", _about_rewards(rewards), dim, bright)]

    def _still(self) -> Image.Image:
        """All that is the same in every frame: title, captions, legend and dim strips."""
        last = self.strips[-1]
        height = last.top + _CAPTION + last.dim.height + MARGIN
        still = Image.new("RGB", (WIDTH, height + height % 2), theme.BACKGROUND)
        draw = ImageDraw.Draw(still)
        title = _shortened(self.episode.title, _font(17, bold=True), _STRIP_WIDTH)
        draw.text((MARGIN, 30), title, theme.TEXT, _font(17, bold=True), anchor="ls")
        _caption(draw, _PANELS_TOP, "environment", left=MARGIN)
        trace = "trace"
        if (synapses := self.episode.synapses) is not None:
            trace += f", {synapses.pooling}" if synapses.pooling else ""
            self._draw_legend(still, draw, synapses.trace.scale)
        _caption(draw, _PANELS_TOP, trace, left=_TRACE_LEFT)
        for part, left in (("environment", MARGIN), ("trace", _TRACE_LEFT)):
            if part in self.absences:
                panel = panels.empty(self.absences[part], _font(13))
                still.paste(panel, (left, _PANELS_TOP))
        if "modulation" in self.absences:
            top = self.strips[0].top
            _caption(draw, top, self.absences["modulation"], left=MARGIN)
        for strip in self.strips:
            still.paste(strip.dim, (MARGIN, strip.top + _CAPTION))
            _caption(draw, strip.top + _CAPTION, strip.name, MARGIN, strip.note, WIDTH - MARGIN)
        return still

    def _draw_legend(self, still: Image.Image, draw: ImageDraw.ImageDraw, scale: float) -> None:
        """``-0.8 [colors] +0.8`` at the right of the trace's caption."""
        high, low = f"+{scale:.2g}", f"-{scale:.2g}"
        right = WIDTH - MARGIN - round(_font(12).getlength(high)) - 6
        left = right - _LEGEND_WIDTH
        baseline = _PANELS_TOP - 8
        draw.text((right + 6, baseline), high, theme.MUTED, _font(12), anchor="ls")
        draw.text((left - 6, baseline), low, theme.MUTED, _font(12), anchor="rs")
        ramp = panels.legend(_LEGEND_WIDTH, _LEGEND_HEIGHT)
        still.paste(ramp, (left, baseline - _LEGEND_HEIGHT))

    def _frame(self, step: int) -> Image.Image:
        frame = self.still.copy()
        draw = ImageDraw.Draw(frame)
        self._draw_numbers(draw, step)
        if (environment := panels.environment(self.episode, step)) is not None:
            frame.paste(environment, (MARGIN, _PANELS_TOP))
        if self.episode.scene is not None and (text := self.episode.scene.captions[step]):
            text = _shortened(text, _font(12), panels.SIDE - _NAME_WIDTH)
            _caption(draw, _PANELS_TOP, note=text, right=MARGIN + panels.SIDE)
        if self.trace is not None:
            heat_map = panels.heat_map(self.trace.shares(step))
            frame.paste(heat_map, (_TRACE_LEFT, _PANELS_TOP))
        for strip in self.strips:
            x, top = panels.column(step, self.episode.n_steps, _STRIP_WIDTH), strip.top + _CAPTION
            past = strip.bright.crop((0, 0, x + 2, strip.bright.height))
            frame.paste(past, (MARGIN, top))
            cursor = [(MARGIN + x, top), (MARGIN + x, top + strip.dim.height - 1)]
            draw.line(cursor, fill=theme.TEXT)
        return frame

    def _draw_numbers(self, draw: ImageDraw.ImageDraw, step: int) -> None:
        left, right = f"step {step + 1} / {self.episode.n_steps}", f"reward {self.totals[step]:g}"
        draw.text((MARGIN, 54), left, theme.MUTED, _font(14), anchor="ls")
        draw.text((WIDTH - MARGIN, 54), right, theme.TEXT, _font(14), anchor="rs")


def _about_rewards(rewards: NDArray[np.floating]) -> str:
    """The steps to each reward where those are informative, else the number of rewards."""
    steps = story.steps_to_rewards(rewards)
    if steps and story.worth_counting(rewards):
        text = "steps to each: " + " ".join(map(str, steps))
        return _shortened(text, _font(12), _STRIP_WIDTH - 80)
    n_below = np.count_nonzero(rewards < 0)
    below = f", {n_below} below" if n_below else ""
    return f"{len(steps)} of {len(rewards)} above zero{below}"


def _caption(
    draw: ImageDraw.ImageDraw,
    top: int,
    text: str = "",
    left: int = 0,
    note: str = "",
    right: int = 0,
) -> None:
    """Write a line above ``top``: a text from ``left`` on, and a note that ends at ``right``."""
    draw.text((left, top - 8), text, theme.MUTED, _font(12), anchor="ls")
    if note:
        draw.text((right, top - 8), note, theme.MUTED, _font(12), anchor="rs")


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """``text``, cut and ended with an ellipsis if it is wider than ``width`` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans from matplotlib's own files, which are the same on every machine."""
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    return ImageFont.truetype(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"), size)
