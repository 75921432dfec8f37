"""An episode as one picture that needs no player: stills side by side, from first step to last."""

from collections.abc import Sequence

from PIL import Image

from plasticrl.viewer import panels, story, theme
from plasticrl.viewer.episode import EpisodeTrace

SIDE, GAP = 150, 6


def filmstrip(lives: Sequence[EpisodeTrace], steps: Sequence[int]) -> Image.Image | None:
    """A row of pictures for each life, and one of the first life's trace; None without any.

    Args:
        lives: the same episode lived by one net or several.
        steps: which steps, from 0; a life that ends sooner stays at its last.
    """
    rows = []
    for which, life in enumerate(lives):
        times = [min(step, life.n_steps - 1) for step in steps]
        if life.frames is not None or story.has_maze(life):
            rows.append([_environment(life, step) for step in times])
        if which == 0 and life.synapses is not None:
            trace = life.synapses.trace
            rows.append([panels.heat_map(trace.shares(step)) for step in times])
    if not rows:
        return None
    pitch = SIDE + GAP
    strip = Image.new("RGB", (len(steps) * pitch + GAP, len(rows) * pitch + GAP), theme.BACKGROUND)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            small = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
            strip.paste(small, (GAP + j * pitch, GAP + i * pitch))
    return strip


def _environment(life: EpisodeTrace, step: int) -> Image.Image:
    if not story.has_maze(life):
        assert life.frames is not None
        return panels.environment(life.frames[step])
    walls, goal = life.setting["walls"], life.setting["goal"]
    return panels.maze(walls, goal, story.path_to(life, step), story.is_hit(life, step))
