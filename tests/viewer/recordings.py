"""Episodes for the page: a maze with and without plasticity, and others with fewer parts."""

from typing import Any

import numpy as np
from tests.viewer.conftest import make_scene

from plasticrl.viewer import EpisodeTrace, SynapseRecorder, Synapses

N_STEPS = 40
SIZE = 7


def walls() -> np.ndarray:
    """A maze of 7 x 7 with pillars, whose center is free."""
    there = np.zeros((SIZE, SIZE), dtype=bool)
    there[::2, ::2] = True
    there[[0, -1], :] = there[:, [0, -1]] = True
    there[3, 3] = False
    return there


def synapses(neurons: int, seed: int, ablated: bool, n_steps: int) -> Synapses:
    """A trace that drifts by small steps."""
    weight, alpha = np.random.default_rng(7).normal(0, 0.1, (2, neurons, neurons))
    recorder = SynapseRecorder(weight, 0 * alpha if ablated else alpha, bound=1.0, eta=None)
    rng = np.random.default_rng(seed)
    trace = np.zeros((neurons, neurons))
    for _ in range(n_steps):
        trace = np.clip(trace + rng.normal(0, 0.1, trace.shape), -1, 1)
        recorder.add(trace)
    return recorder.synapses()


def maze_recording(
    seed: int, ablated: bool, rewarded: tuple[int, ...], neurons: int = 12, **fields: Any
) -> EpisodeTrace:
    """An agent that walks along the second row and back; `rewarded` steps, from 1, earn 10."""
    rng = np.random.default_rng(seed + 100 * ablated)
    rewards = np.zeros(N_STEPS)
    rewards[[step - 1 for step in rewarded]] = 10.0
    columns = 1 + np.abs((np.arange(N_STEPS) + seed) % 8 - 4)
    given: dict[str, Any] = {
        "title": f"maze, seed {seed}",
        "env_id": "plasticrl/GridMaze-v0",
        "preset": "maze-quickstart",
        "seed": seed,
        "ablated": ablated,
        "actions": rng.integers(0, 4, N_STEPS),
        "rewards": rewards,
        "values": rng.normal(size=N_STEPS),
        "modulation": rng.normal(size=N_STEPS),
        "synapses": synapses(neurons, seed + 100 * ablated, ablated, N_STEPS),
        "scene": make_scene(
            walls(),
            (5, 3),
            np.stack([np.ones(N_STEPS, dtype=int), columns], axis=1),
            actions=("up", "down", "left", "right"),
        ),
    }
    return EpisodeTrace(**(given | fields))


def maze_pairs(**fields: Any) -> list[tuple[EpisodeTrace, EpisodeTrace | None]]:
    """Two episodes. With plasticity, the waits are 10, 5 and 5, and 20 more steps follow."""
    return [
        (
            maze_recording(seed, False, (10, 15, 20), **fields),
            maze_recording(seed, True, (12, 36), **fields),
        )
        for seed in (3, 4)
    ]


def cart_pole(**fields: Any) -> EpisodeTrace:
    """An lstm on CartPole-v1: rewards at every step, neither trace nor modulation."""
    given: dict[str, Any] = {
        "title": "CartPole-v1, seed 5",
        "env_id": "CartPole-v1",
        "preset": "CartPole-v1",
        "seed": 5,
        "ablated": False,
        "actions": np.zeros(N_STEPS, dtype=int),
        "rewards": np.ones(N_STEPS),
        "values": np.linspace(0, 9, N_STEPS),
    }
    return EpisodeTrace(**(given | fields))
