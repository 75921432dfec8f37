"""One step of an episode as lines of styled text, to the size of a terminal."""

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.console import ConsoleDimensions
from rich.style import Style
from rich.text import Text

from plasticrl.viewer import theme
from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.sparkline import Sparkline
from plasticrl.viewer.synapses import pool

_SHADES = " ░▒▓█"
_LABEL, _GAP = 12, 3
"""Columns: for the names of the strips, and between the environment and the trace."""
_SMALLEST_TRACE = 8
"""Columns under which a trace says nothing."""


class Screen:
    """Draws the steps of one episode at one size. What is the same at every step is made once."""

    def __init__(self, episode: EpisodeTrace, size: ConsoleDimensions, no_color: bool) -> None:
        self.episode, self.size, self.no_color = episode, size, no_color
        self.totals = np.cumsum(episode.rewards)
        self.strips = _sparklines(episode, max(1, size.width - _LABEL))
        # The rest: header, two empty lines, and the last line, which is the cursor's.
        self.n_rows = max(1, size.height - 4 - len(self.strips))
        self.texts = [list(Text.from_ansi(text).split()) for text in episode.texts or ()]
        self.text_width = max((line.cell_len for text in self.texts for line in text), default=0)
        left = self.text_width + _GAP if self.texts else 0
        # Half blocks: two entries in a row of text, of which one is the caption's.
        room = min(size.width - left, 2 * (self.n_rows - 1))
        synapses = episode.synapses if room >= _SMALLEST_TRACE else None
        self.trace = None if synapses is None else synapses.trace
        self.block = 1 if synapses is None else -(-max(synapses.weight.shape) // room)
        self.scale = 1.0 if self.trace is None else self.trace.scale

    def picture(self, step: int) -> Text:
        """The whole screen at `step`, no wider or higher than the terminal."""
        done = (step + 1) / self.episode.n_steps
        strips = [
            Text(f"{name:<{_LABEL}}") + strip.text(done) for name, strip in self.strips.items()
        ]
        lines = [self._header(step), Text(), *self._middle(step), Text(), *strips]
        for line in lines:
            line.truncate(self.size.width)
        return Text("\n", no_wrap=True, end="").join(lines[: max(1, self.size.height - 1)])

    def _header(self, step: int) -> Text:
        numbers = f"  step {step + 1}/{self.episode.n_steps}  reward {self.totals[step]:g}"
        title = Text(self.episode.title, style="bold")
        title.truncate(max(0, self.size.width - len(numbers)), overflow="ellipsis", pad=True)
        return title + Text(numbers)

    def _middle(self, step: int) -> list[Text]:
        """The environment's text, and beside it the trace."""
        left = self.texts[step] if self.texts else []
        right = (
            [] if self.trace is None else self._trace_lines(pool(self.trace.at(step), self.block))
        )
        lines = []
        for row in range(min(self.n_rows, max(len(left), len(right)))):
            line = left[row].copy() if row < len(left) else Text()
            if row < len(right):
                indent = self.text_width + _GAP if self.texts else 0
                line.append(" " * (indent - line.cell_len)).append_text(right[row])
            lines.append(line)
        return lines

    def _trace_lines(self, matrix: NDArray[np.float32]) -> list[Text]:
        shares = matrix / self.scale
        if len(shares) % 2:
            shares = np.pad(shares, ((0, 1), (0, 0)))
        pairs = zip(shares[::2], shares[1::2], strict=True)
        if self.no_color:
            return [Text(f"trace size to {self.scale:.2g}"), *(_shaded(*pair) for pair in pairs)]
        return [self._legend(), *(_half_blocks(*pair) for pair in pairs)]

    def _legend(self) -> Text:
        negative, positive = (
            Style(color=Color.from_rgb(*color)) for color in (theme.NEGATIVE, theme.POSITIVE)
        )
        return Text.assemble(
            "trace ", (f"-{self.scale:.2g}", negative), " to ", (f"+{self.scale:.2g}", positive)
        )


def _sparklines(episode: EpisodeTrace, width: int) -> dict[str, Sparkline]:
    strips = {"rewards": Sparkline.of_sums(episode.rewards, width)}
    if episode.modulation is not None:
        return {"modulation": Sparkline.of_means(episode.modulation, width), **strips}
    return strips


def _half_blocks(upper: NDArray[np.float32], lower: NDArray[np.float32]) -> Text:
    """Two rows of entries (each in [-1, 1]) as one row of text: ▀ has a colour for each."""
    line = Text()
    colors = zip(theme.diverging(upper).tolist(), theme.diverging(lower).tolist(), strict=True)
    for above, below in colors:
        line.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
    return line


def _shaded(upper: NDArray[np.float32], lower: NDArray[np.float32]) -> Text:
    """The same without colours: how large, whatever the sign."""
    sizes = np.maximum(np.abs(upper), np.abs(lower))
    return Text("".join(_SHADES[round(float(size) * (len(_SHADES) - 1))] for size in sizes))
