"""A trained agent that lives in an HTML page, which needs no network and no other file.

The page holds the weights and computes the net's steps and the maze itself: ``page/net.js`` and
``page/maze.js`` have the equations of ``plasticrl.core`` and ``plasticrl.envs``. The same agent
without its plasticity lives beside it.
"""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from plasticrl.viewer.files import check_path, replacing
from plasticrl.viewer.packing import Packer
from plasticrl.viewer.template import fill

_SCRIPTS = (
    "arrays.js", "common.js", "drawing.js", "charts.js",
    "net.js", "maze.js", "life.js", "living.js", "live.js",
)  # fmt: skip

_NOTES = (
    "The dashed square is what an agent sees. Both networks have the same weights, start at the "
    "same place and use the same random numbers; in the right one, &alpha;&nbsp;=&nbsp;0. An "
    "episode has {steps} steps and starts with a trace of zero. {moved} {about}. This page "
    "computes everything itself and loads nothing. Keys: space plays, &rarr; takes a step; in a "
    "maze, the arrow keys and Enter move the reward."
)
_MOVED = {
    True: (
        "In training the reward moved now and then, so the left network can learn a new place on "
        "top of its trace; if the trace is not kept, a moved reward starts a new episode."
    ),
    False: (
        "In training the reward stayed at one place for an episode, so a moved reward starts a new "
        "one. If the trace is kept instead, the left network is slow to give up the old place."
    ),
}
"""What happens if the reward is moved, by whether the agent was trained with that."""


@dataclass(frozen=True, kw_only=True)
class LiveAgent:
    """An agent and its maze as plain data; arrays are float32, matrices (out, in).

    ``net`` has the core's options ``rule``, ``bound``, ``clip``, ``modulation`` and
    ``modulator_activation``; ``limit``, the largest value of the trace, or None; ``eta``, or None
    with simple modulation; ``weight`` and ``alpha`` (N, N); and the layers ``input``,
    ``modulator``, ``fan_out``, ``action_head`` and ``value_head``, each a dict of ``weight`` and
    ``bias``, or None if the net does not have it.

    ``maze`` has the environment's options ``size``, ``episode_length``, ``goal_reward``,
    ``wall_penalty``, ``step_penalty``, ``goal_moves`` and ``random_start``, and ``goals``, the free
    cells where the goal may be at first. On the page, only the visitor moves it later.
    """

    about: str
    """A sentence on the origin of the agent, without its period."""
    net: dict[str, Any]
    maze: dict[str, Any]
    seed: int
    """Seed of the page's random numbers."""
    deterministic: bool = False
    """Take the most likely action instead of a sample."""


def check_live_path(path: Path) -> None:
    """Raise ``ViewerError`` unless the page can be written to ``path``."""
    check_path(path, "write the live page", (".html",))


def save_live(agent: LiveAgent, path: str | Path) -> None:
    """Write the page to ``path``, replacing an existing file after a complete write.

    Raises:
        ViewerError: ``path`` is not a .html in a writable folder.
    """
    path = Path(path)
    check_live_path(path)
    content = live_page(agent).encode()
    with replacing(path, "write the live page") as temporary:
        temporary.write_bytes(content)


def live_page(agent: LiveAgent) -> str:
    """Return the page's HTML."""
    packer = Packer()
    manifest = {
        "net": _packed(agent.net, packer),
        "maze": agent.maze,
        "seed": agent.seed,
        "deterministic": agent.deterministic,
    }
    notes = _NOTES.format(
        steps=agent.maze["episode_length"],
        moved=_MOVED[agent.maze["goal_moves"] > 0],
        about=escape(agent.about),
    )
    styles = ("page.css", "live.css")
    return fill("live.html", styles, _SCRIPTS, manifest, notes=notes, arrays=packer.text())


def _packed(value: Any, packer: Packer) -> Any:
    """Replace the arrays in nested dicts by their descriptions."""
    if isinstance(value, np.ndarray):
        return packer.add(value, "f4")
    if isinstance(value, dict):
        return {name: _packed(item, packer) for name, item in value.items()}
    return value
