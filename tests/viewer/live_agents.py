"""Agents with random weights for the live page."""

from typing import Any

import numpy as np

from plasticrl.viewer import LiveAgent

UNITS = 6
SIZE = 7
FREE = 21
"""Free cells of the maze, of which number 10 is the center."""


def live_agent(maze: dict[str, Any] | None = None, **net: Any) -> LiveAgent:
    """An agent of six units with simple modulation in a maze of size 7."""
    rng = np.random.default_rng(0)

    def layer(rows: int, columns: int) -> dict[str, Any]:
        weight = rng.normal(size=(rows, columns)).astype(np.float32)
        return {"weight": weight, "bias": weight[:, 0]}

    options: dict[str, Any] = {
        "rule": "hebb",
        "bound": "hard",
        "clip": 1.0,
        "limit": 1.0,
        "modulation": "simple",
        "modulator_activation": "tanh",
        "eta": None,
        "input": layer(UNITS, 17),
        "weight": layer(UNITS, UNITS)["weight"],
        "alpha": layer(UNITS, UNITS)["weight"],
        "modulator": layer(1, UNITS),
        "fan_out": None,
        "action_head": layer(4, UNITS),
        "value_head": layer(1, UNITS),
    }
    world: dict[str, Any] = {
        "size": SIZE,
        "episode_length": 50,
        "goal_reward": 10.0,
        "wall_penalty": 0.0,
        "step_penalty": 0.0,
        "goal_moves": 0.0,
        "random_start": False,
        "goals": [cell for cell in range(FREE) if cell != FREE // 2],
    }
    return LiveAgent(
        about="The agent is <random>", net=options | net, maze=world | (maze or {}), seed=4
    )
