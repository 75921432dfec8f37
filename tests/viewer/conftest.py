"""A small maze-like episode with every field."""

from typing import Any

import numpy as np
import pytest

from plasticrl.viewer import EpisodeTrace, Scene, Symbol, SynapseRecorder, Synapses

N_STEPS = 12


def make_synapses(traces: np.ndarray, bound: float | None = 1.0) -> Synapses:
    """Record `traces` (T, post, pre) with random weights and alpha."""
    rng = np.random.default_rng(1)
    weight, alpha = rng.normal(size=(2, *traces.shape[1:])).astype(np.float32)
    recorder = SynapseRecorder(weight, alpha, bound, eta=0.25)
    for trace in traces:
        recorder.add(trace)
    return recorder.synapses()


SYMBOLS = (
    Symbol("floor", " ", "empty", "muted", False),
    Symbol("wall", "█", "block", "wall", False),
    Symbol("goal", "◎", "ring", "goal", False),
    Symbol("agent", "●", "disc", "agent", False),
)


def make_scene(walls: np.ndarray, goal: tuple[int, int], agent: np.ndarray, **more: Any) -> Scene:
    """Make the scene of a maze with `walls` (h, w) and the agent's places (T, 2)."""
    grid = np.tile(walls.astype(np.uint8), (len(agent), 1, 1))
    grid[:, *goal] = 2
    grid[np.arange(len(agent)), *agent.T] = 3
    known: dict[str, Any] = {"captions": ("",) * len(agent), "trail": "agent", "goal": "goal"}
    return Scene(symbols=SYMBOLS, grid=grid, **(known | more))


def make_fields() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    rewards = np.zeros(N_STEPS)
    rewards[[3, 7]] = 10.0, -0.5
    return {
        "title": "maze [bold]9 x 9[/bold]",
        "env_id": "plasticrl/GridMaze-v0",
        "preset": "maze-quickstart",
        "seed": 3,
        "ablated": False,
        "frames": rng.integers(0, 256, (N_STEPS, 9, 9, 3), dtype=np.uint8),
        "texts": tuple(f"\x1b[31m##{step:02d}##\x1b[0m\n#    #" for step in range(N_STEPS)),
        "actions": np.zeros((N_STEPS,), dtype=np.int64),
        "rewards": rewards,
        "values": rng.normal(size=N_STEPS),
        "modulation": rng.normal(size=N_STEPS),
        "synapses": make_synapses(rng.normal(size=(N_STEPS, 20, 20)).astype(np.float32)),
        "scene": make_scene(
            rng.random((9, 9)) < 0.3,
            (3, 4),
            rng.integers(1, 8, (N_STEPS, 2)),
            captions=tuple(f"caption {step}" for step in range(N_STEPS)),
            actions=("stay",),
        ),
        "terminated": True,
    }


def make_maze(n_rows: int = 9) -> dict[str, Any]:
    """Make a scene and rewards: an agent in a corridor, with rewards at steps 3 and 7."""
    walls = np.ones((n_rows, 9), dtype=bool)
    walls[1, 1:8] = False
    rewards = np.zeros(N_STEPS)
    rewards[[3, 7]] = 10.0
    agent = np.stack([np.ones(N_STEPS, int), 1 + np.arange(N_STEPS) % 4], axis=1)
    return {"scene": make_scene(walls, (1, 6), agent), "rewards": rewards}


@pytest.fixture
def fields() -> dict[str, Any]:
    return make_fields()


@pytest.fixture
def episode(fields: dict[str, Any]) -> EpisodeTrace:
    return EpisodeTrace(**fields)
