"""The picture of an episode: where every part stands, and each step's frame."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from plasticrl.viewer import panels, theme
from plasticrl.viewer.episode import EpisodeTrace

MARGIN = 20
_HEADER, _CAPTION = 76, 22
_MODULATION, _REWARDS = 56, 36
_LEGEND_WIDTH, _LEGEND_HEIGHT = 72, 8


@dataclass(frozen=True)
class _Strip:
    """A series over the whole episode: dim where it is still to come."""

    top: int
    dim: Image.Image
    bright: Image.Image


class Scene:
    """Draws the frames of one episode. What stands still is drawn once."""

    def __init__(self, episode: EpisodeTrace) -> None:
        self.episode = episode
        self.totals = np.cumsum(episode.rewards)
        self.trace = None if episode.synapses is None else episode.synapses.trace
        n_panels = (episode.frames is not None) + (self.trace is not None)
        self.width = MARGIN + (n_panels or 2) * (panels.SIDE + MARGIN)
        self.panels_top = _HEADER + _CAPTION
        strips_top = self.panels_top + panels.SIDE + MARGIN if n_panels else _HEADER
        self.strips = self._strips(strips_top)
        self.still = self._still()

    def frames(self) -> list[Image.Image]:
        """One RGB image per step, all of one size."""
        return [self._frame(step) for step in range(self.episode.n_steps)]

    @property
    def _trace_left(self) -> int:
        return self.width - MARGIN - panels.SIDE

    def _strips(self, top: int) -> list[_Strip]:
        width, rewards = self.width - 2 * MARGIN, self.episode.rewards
        strips = []
        if self.episode.modulation is not None:
            dim, bright = (
                panels.line(self.episode.modulation, width, _MODULATION, color)
                for color in (theme.dimmed(theme.MODULATION), theme.MODULATION)
            )
            strips.append(_Strip(top + _CAPTION, dim, bright))
            top += _CAPTION + _MODULATION + MARGIN // 2
        colors = theme.REWARD, theme.PUNISHMENT
        bright = panels.ticks(rewards, width, _REWARDS, *colors)
        dim = panels.ticks(rewards, width, _REWARDS, *map(theme.dimmed, colors))
        return [*strips, _Strip(top + _CAPTION, dim, bright)]

    def _still(self) -> Image.Image:
        """All that is the same in every frame: title, captions, legend, the strips before time."""
        last = self.strips[-1]
        still = Image.new(
            "RGB", (self.width, last.top + last.dim.height + MARGIN), theme.BACKGROUND
        )
        draw, right = ImageDraw.Draw(still), self.width - MARGIN
        title = _shortened(self.episode.title, _font(17, bold=True), right - MARGIN)
        draw.text((MARGIN, 30), title, theme.TEXT, _font(17, bold=True), anchor="ls")
        if self.episode.frames is not None:
            _caption(draw, self.panels_top, "environment", left=MARGIN)
        if self.trace is not None:
            _caption(draw, self.panels_top, "Hebbian trace", left=self._trace_left)
            self._draw_legend(still, draw, self.trace.scale)
        for strip in self.strips:
            still.paste(strip.dim, (MARGIN, strip.top))
        rewards = self.episode.rewards
        _caption(
            draw,
            last.top,
            "rewards",
            MARGIN,
            f"{np.count_nonzero(rewards)} of {len(rewards)} steps",
            right,
        )
        if (modulation := self.episode.modulation) is not None:
            span = f"{modulation.min():+.2f} to {modulation.max():+.2f}"
            _caption(draw, self.strips[0].top, "modulation, mean over neurons", MARGIN, span, right)
        return still

    def _draw_legend(self, still: Image.Image, draw: ImageDraw.ImageDraw, scale: float) -> None:
        """`-0.8 [colours] +0.8` at the right of the trace's caption."""
        high, low = f"+{scale:.2g}", f"-{scale:.2g}"
        right = self.width - MARGIN - round(_font(12).getlength(high)) - 6
        left = right - _LEGEND_WIDTH
        baseline = self.panels_top - 8
        draw.text((right + 6, baseline), high, theme.MUTED, _font(12), anchor="ls")
        draw.text((left - 6, baseline), low, theme.MUTED, _font(12), anchor="rs")
        ramp = panels.legend(_LEGEND_WIDTH, _LEGEND_HEIGHT)
        still.paste(ramp, (left, baseline - _LEGEND_HEIGHT))

    def _frame(self, step: int) -> Image.Image:
        frame = self.still.copy()
        draw = ImageDraw.Draw(frame)
        self._draw_numbers(draw, step)
        if self.episode.frames is not None:
            frame.paste(panels.environment(self.episode.frames[step]), (MARGIN, self.panels_top))
        if self.trace is not None:
            heat_map = panels.heat_map(self.trace.at(step), self.trace.scale)
            frame.paste(heat_map, (self._trace_left, self.panels_top))
        for strip in self.strips:
            x = panels.column(step, self.episode.n_steps, strip.dim.width)
            past = strip.bright.crop((0, 0, x + 2, strip.bright.height))
            frame.paste(past, (MARGIN, strip.top))
            cursor = [(MARGIN + x, strip.top), (MARGIN + x, strip.top + strip.dim.height - 1)]
            draw.line(cursor, fill=theme.TEXT)
        return frame

    def _draw_numbers(self, draw: ImageDraw.ImageDraw, step: int) -> None:
        left, right = f"step {step + 1} / {self.episode.n_steps}", f"reward {self.totals[step]:g}"
        draw.text((MARGIN, 54), left, theme.MUTED, _font(14), anchor="ls")
        draw.text((self.width - MARGIN, 54), right, theme.TEXT, _font(14), anchor="rs")


def _caption(
    draw: ImageDraw.ImageDraw, top: int, text: str, left: int, note: str = "", right: int = 0
) -> None:
    """A caption over the part that begins at `top`, with an optional note at its right end."""
    draw.text((left, top - 8), text, theme.MUTED, _font(12), anchor="ls")
    if note:
        draw.text((right, top - 8), note, theme.MUTED, _font(12), anchor="rs")


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """`text`, cut and ended with an ellipsis where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, from matplotlib's own files: the same on every machine."""
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    return ImageFont.truetype(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"), size)
