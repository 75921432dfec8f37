"""One step of an episode as lines of styled text that fill a terminal."""

import numpy as np
from rich.console import ConsoleDimensions
from rich.text import Text

from plasticrl.viewer import story, theme
from plasticrl.viewer.blocks import half_blocks, shaded, style
from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.scenery import scenery
from plasticrl.viewer.sparkline import Sparkline
from plasticrl.viewer.synapses import Synapses, pool

_LABEL, _GAP = 14, 3
"""Columns for the names of the strips, and between the environment and the trace."""
_FACTS = 24
"""Columns for the numbers of a step."""
_SMALLEST_TRACE = 8
"""The fewest columns of a trace; a smaller one is left out."""


class Screen:
    """Draws the steps of one episode for one size of terminal."""

    def __init__(self, episode: EpisodeTrace, size: ConsoleDimensions, no_color: bool) -> None:
        self.episode, self.size, self.no_color = episode, size, no_color
        self.totals = np.cumsum(episode.rewards)
        self.notes = "; ".join(story.absences(episode).values())
        self.strips = _sparklines(episode, max(1, size.width - _LABEL))
        # The other four lines are the header, the notes, an empty one, and the cursor's.
        self.n_rows = max(1, size.height - 4 - len(self.strips))
        self.left_width = self._left_width()
        # Two rows of entries fit into a line of text; one line is for the caption.
        room = min(size.width - self.left_width - _GAP, 2 * (self.n_rows - 1))
        self.synapses = episode.synapses if room >= _SMALLEST_TRACE else None
        self.block = 1
        if self.synapses is not None:
            self.block = -(-max(self.synapses.weight.shape) // room)
        # The last step has the most numbers; so the strips below never move.
        self.n_middle = len(self._middle(episode.n_steps - 1))

    def picture(self, step: int) -> Text:
        """Draw the whole screen at ``step``, no wider or higher than the terminal."""
        done = (step + 1) / self.episode.n_steps
        strips = [
            Text(f"{name:<{_LABEL}}") + strip.text(done) for name, strip in self.strips.items()
        ]
        notes = Text(self.notes, style="dim")
        middle = self._middle(step)[: self.n_middle]
        middle += [Text() for _ in range(self.n_middle - len(middle))]
        lines = [self._header(step), notes, *middle, Text(), *strips]
        for line in lines:
            line.truncate(self.size.width)
        return Text("\n", no_wrap=True, end="").join(lines[: max(1, self.size.height - 1)])

    def _left_width(self) -> int:
        """Columns of the environment and the numbers below it, the same at every step."""
        episode, last = self.episode, self.episode.n_steps - 1
        steps = range(last + 1) if episode.texts else [last]  # only texts change their width
        widths = [line.cell_len for step in steps for line in self._scenery(step)]
        if episode.scene is not None and widths:
            widths.append(min(episode.scene.caption_width, self._columns()))
        return max(_FACTS, *widths) if widths else _FACTS

    def _columns(self) -> int:
        """The most columns of the environment: the trace or else the numbers stand beside it."""
        if self.episode.synapses is not None:
            return (self.size.width - _GAP) // 2
        return self.size.width - _GAP - _FACTS

    def _scenery(self, step: int) -> list[Text]:
        return scenery(self.episode, step, self._columns(), self.n_rows, self.no_color)

    def _header(self, step: int) -> Text:
        numbers = f"  step {step + 1}/{self.episode.n_steps}  reward {self.totals[step]:g}"
        title = Text(self.episode.title, style="bold")
        title.truncate(max(0, self.size.width - len(numbers)), overflow="ellipsis", pad=True)
        return title + Text(numbers)

    def _middle(self, step: int) -> list[Text]:
        """The environment, beside it the trace, and the numbers where there is room."""
        left = self._scenery(step)
        beside = self.synapses is None or not left
        right = self._facts(step, self.n_rows if beside else self.n_rows - len(left) - 1)
        if self.synapses is not None:
            left = [*left, Text(), *right] if left else right
            right = self._trace(self.synapses, step)
        if not left:
            return right[: self.n_rows]
        lines = []
        for row in range(min(self.n_rows, max(len(left), len(right)))):
            line = left[row].copy() if row < len(left) else Text()
            if row < len(right):
                indent = self.left_width + _GAP
                line.append(" " * (indent - line.cell_len)).append_text(right[row])
            lines.append(line)
        return lines

    def _facts(self, step: int, room: int) -> list[Text]:
        """The numbers of the step, and the steps to the last rewards, as many as there is room."""
        episode = self.episode
        facts = {}
        if episode.scene is not None and episode.scene.actions:
            facts["action"] = episode.action_name(step)
        if episode.values is not None:
            facts["value"] = f"{episode.values[step]:+.2f}"
        if episode.modulation is not None:
            facts["modulation"] = f"{episode.modulation[step]:+.2f}"
        if episode.synapses is not None:
            facts["mean |trace|"] = f"{episode.synapses.trace_abs_mean[step]:.2f}"
            if (saturation := episode.synapses.trace_saturation) is not None:
                facts["at the bound"] = f"{saturation[step]:.0%}"
        lines = [Text(f"{name:<{_LABEL}}{number:>8}") for name, number in facts.items()]
        if story.worth_counting(episode.rewards):
            steps = story.steps_to_rewards(episode.rewards[: step + 1])
            most, n_steps = max(1, room - len(lines) - 2), len(steps)
            while len(wrapped := _wrapped(steps)) > most:
                steps = steps[1:]
            which = "each reward" if len(steps) == n_steps else "last rewards"
            gap = [Text()] if room > len(lines) + 2 else []
            lines += [*gap, Text(f"steps to {which}"), *wrapped]
        return lines

    def _trace(self, synapses: Synapses, step: int) -> list[Text]:
        shares = pool(synapses.trace.shares(step), self.block)
        block = synapses.block * self.block
        pooled = f"  pooled {block} x {block}" if block > 1 else ""
        scale = f"{synapses.trace.scale:.2g}"
        if self.no_color:
            return [Text(f"|trace| up to {scale}{pooled}"), *shaded(np.abs(shares))]
        caption = Text.assemble(
            "trace ",
            (f"-{scale}", style(theme.NEGATIVE)),
            " to ",
            (f"+{scale}", style(theme.POSITIVE)),
            pooled,
        )
        return [caption, *half_blocks(theme.diverging(shares))]


def _wrapped(numbers: list[int]) -> list[Text]:
    """The numbers in lines of at most ``_FACTS`` columns."""
    lines = [""]
    for number in numbers:
        if len(lines[-1]) + len(f" {number}") > _FACTS:
            lines.append("")
        lines[-1] += f" {number}" if lines[-1] else f"{number}"
    return [Text().append(line, style(theme.REWARD)) for line in lines]


def _sparklines(episode: EpisodeTrace, width: int) -> dict[str, Sparkline]:
    strips = {}
    if episode.modulation is not None:
        strips["modulation"] = Sparkline.of_means(episode.modulation, width, theme.MODULATION)
    if episode.synapses is not None:
        mean = episode.synapses.trace_abs_mean
        strips["mean |trace|"] = Sparkline.of_means(mean, width, theme.POSITIVE)
    strips["rewards"] = Sparkline.of_sums(episode.rewards, width)
    return strips
