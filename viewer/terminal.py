"""An episode in the terminal: played step by step, or summed up in lines of text."""

import time

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text

from plasticrl.viewer import story
from plasticrl.viewer.episode import EpisodeTrace
from plasticrl.viewer.errors import ViewerError
from plasticrl.viewer.screen import Screen


def watch(episode: EpisodeTrace, console: Console, fps: float = 20) -> None:
    """Play the episode on ``console``, in its present size at every step.

    Where nothing can be drawn (a pipe, a file, a dumb terminal, one without Unicode), print a line
    for every rewarded step and a summary instead, without delays or escape codes.

    Args:
        fps: steps per second.

    Raises:
        ViewerError: ``fps`` is not above 0.
    """
    if not fps > 0:
        raise ViewerError(f"fps must be above 0, not {fps}")
    if console.is_terminal and not console.is_dumb_terminal and not console.options.ascii_only:
        _play(episode, console, fps)
    else:
        _sum_up(episode, console)


def _play(episode: EpisodeTrace, console: Console, fps: float) -> None:
    screen = Screen(episode, console.size, console.no_color)
    console.line()  # so that the line above stays visible
    with Live(console=console, auto_refresh=False) as live:
        for step in range(episode.n_steps):
            if console.size != screen.size:
                screen = Screen(episode, console.size, console.no_color)
            live.update(screen.picture(step), refresh=True)
            time.sleep(1 / fps)


def _sum_up(episode: EpisodeTrace, console: Console) -> None:
    totals, rewarded = np.cumsum(episode.rewards), np.flatnonzero(episode.rewards)
    lines = [episode.title]
    if story.rewards_are_rare(episode.rewards):
        lines += [
            f"step {step + 1}: reward {episode.rewards[step]:+g}, total {totals[step]:g}"
            for step in rewarded
        ]
    if (synapses := episode.synapses) is not None:
        first, last = synapses.trace_abs_mean[[0, -1]]
        lines.append(f"mean |trace| {first:.3g} after the first step, {last:.3g} after the last")
    lines += story.absences(episode).values()
    end = ", terminated" if episode.terminated else ""
    summary = f"{episode.n_steps} steps{end}, {len(rewarded)} rewarded, total reward {totals[-1]:g}"
    lines.append(summary)
    console.print(Text("\n".join(lines)), soft_wrap=True)
