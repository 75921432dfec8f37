"""A small maze-like episode with every field."""

from typing import Any

import numpy as np
import pytest

from plasticrl.viewer import EpisodeTrace

N_STEPS = 12


def make_fields() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    rewards = np.zeros(N_STEPS)
    rewards[[3, 7]] = 10.0, -0.5
    return {
        "title": "maze [bold]9 x 9[/bold]",
        "frames": rng.integers(0, 256, (N_STEPS, 9, 9, 3), dtype=np.uint8),
        "texts": tuple(f"\x1b[31m##{step:02d}##\x1b[0m\n#    #" for step in range(N_STEPS)),
        "actions": np.zeros((N_STEPS,), dtype=np.int64),
        "rewards": rewards,
        "values": rng.normal(size=N_STEPS),
        "modulation": rng.normal(size=N_STEPS),
        "trace": rng.normal(size=(N_STEPS, 20, 20)).astype(np.float32),
    }


@pytest.fixture
def fields() -> dict[str, Any]:
    return make_fields()


@pytest.fixture
def episode(fields: dict[str, Any]) -> EpisodeTrace:
    return EpisodeTrace(**fields)
