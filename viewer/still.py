"""An episode as one picture that needs no player: stills side by side, from first step to last."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plasticrl.viewer import panels, theme
from plasticrl.viewer.episode import EpisodeTrace

SIDE, GAP = 150, 6
AGENT: theme.Color = (255, 138, 92)
TRAIL: theme.Color = (120, 84, 74)


def filmstrip(lives: Sequence[EpisodeTrace], steps: Sequence[int]) -> Image.Image | None:
    """A row of pictures for each life, and one of the first life's trace; None without any.

    Args:
        lives: the same episode lived by one net or several.
        steps: which steps, from 0; a life that ends sooner stays at its last.
    """
    rows = []
    for which, life in enumerate(lives):
        times = [min(step, life.n_steps - 1) for step in steps]
        if life.frames is not None or is_maze(life):
            rows.append([panels.environment(_picture(life, step)) for step in times])
        if which == 0 and life.synapses is not None:
            trace = life.synapses.trace
            rows.append([panels.heat_map(trace.at(step), trace.scale) for step in times])
    if not rows:
        return None
    pitch = SIDE + GAP
    strip = Image.new("RGB", (len(steps) * pitch + GAP, len(rows) * pitch + GAP), theme.BACKGROUND)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            small = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
            strip.paste(small, (GAP + j * pitch, GAP + i * pitch))
    return strip


def is_maze(life: EpisodeTrace) -> bool:
    """Whether walls, goal and the agent's places are known, so that the maze can be drawn."""
    walls, goal = life.setting.get("walls"), life.setting.get("goal")
    agent = life.state.get("agent")
    if walls is None or goal is None or agent is None:
        return False
    if walls.ndim != 2 or goal.shape != (2,) or agent.shape != (life.n_steps, 2):
        return False
    inside = (agent >= 0).all() and (agent < walls.shape).all()
    return bool(inside and walls.shape[0] == walls.shape[1])


def _picture(life: EpisodeTrace, step: int) -> NDArray[np.uint8]:
    """The frame before `step`; of a maze, cells: walls, where the agent has been, goal, agent."""
    if not is_maze(life):
        assert life.frames is not None
        frame: NDArray[np.uint8] = life.frames[step]
        return frame
    walls = life.setting["walls"].astype(bool)
    cells: NDArray[np.uint8] = np.where(walls[..., None], theme.MUTED, theme.PANEL).astype(np.uint8)
    agent = life.state["agent"].astype(int)
    cells[tuple(agent[: step + 1].T)] = TRAIL
    cells[tuple(life.setting["goal"].astype(int))] = theme.REWARD
    cells[tuple(agent[step])] = AGENT
    return cells
