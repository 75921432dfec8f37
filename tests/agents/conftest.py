"""Shared by the agents' tests: small cores, spaces, and an environment with any two spaces."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from plasticrl.agents import RecurrentA2C, RecurrentPPO
from plasticrl.agents.on_policy import RecurrentOnPolicyAlgorithm
from plasticrl.agents.options import CORES as CORE_NAMES
from plasticrl.core import cell_fields

OPTIONS: dict[str, dict[str, Any]] = {
    "gru": {"num_layers": 2},
    "plastic_rnn": {"eta_init": 0.4},
    "plastic_lstm": {"modulation": "simple", "bound": "soft"},
    # With its 64 units, rounding errors grow too fast to compare single precision closely.
    "inner_gradient": {"inner_size": 4},
}
"""Options of a core other than its defaults."""


def _small(core: str) -> dict[str, Any]:
    sizes = {"hidden_size": 7} if "hidden_size" in cell_fields(core) else {}
    return {"core": core, "core_kwargs": sizes | OPTIONS.get(core, {})}


CORES: dict[str, dict[str, Any]] = {
    "default": {"core_kwargs": {"hidden_size": 7}},
    **{name: _small(name) for name in CORE_NAMES},
    "plastic_rnn-retroactive": {
        "core": "plastic_rnn",
        "core_kwargs": {"hidden_size": 7, "modulation": "retroactive", "rule": "oja"},
    },
    "separate": {
        "core_kwargs": {"hidden_size": 7, "num_layers": 2},
        "share_features_extractor": False,
    },
}

OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "Box": spaces.Box(-1.0, 1.0, (2, 3), np.float32),
    "Discrete": spaces.Discrete(4),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3]),
    "MultiBinary": spaces.MultiBinary(3),
    "Dict": spaces.Dict({"a": spaces.Box(-1.0, 1.0, (2,), np.float32), "b": spaces.Discrete(3)}),
    "image": spaces.Box(0, 255, (36, 36, 1), np.uint8),
}

ACTIONS: dict[str, spaces.Space[Any]] = {
    "Box": spaces.Box(-0.1, 0.2, (2, 2), np.float32),
    "Discrete": spaces.Discrete(3),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3]),
    "MultiBinary": spaces.MultiBinary(3),
}


class SpaceEnv(gym.Env[Any, Any]):
    """Random observations and rewards; episodes of ``length`` steps, terminated or truncated.

    ``actions`` collects the actions taken. Rewards are NaN from step ``nan_after`` on.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        observation: str = "Box",
        action: str = "Discrete",
        length: int = 4,
        truncates: bool = False,
        nan_after: int | None = None,
    ) -> None:
        self.observation_space = deepcopy(OBSERVATIONS[observation])  # random numbers of its own
        self.action_space = deepcopy(ACTIONS[action])
        self.length = length
        self.truncates = truncates
        self.nan_after = nan_after
        self.actions: list[Any] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._time = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.actions.append(action)
        self._time += 1
        reward = float(self.np_random.normal())
        if self.nan_after is not None and len(self.actions) > self.nan_after:
            reward = float("nan")
        over = self._time >= self.length
        obs = self.observation_space.sample()
        return obs, reward, over and not self.truncates, over and self.truncates, {}


MakeVecEnv = Callable[..., VecMonitor]


@pytest.fixture
def make_env() -> type[SpaceEnv]:
    """Make one environment; the arguments are those of ``SpaceEnv``."""
    return SpaceEnv


@pytest.fixture
def make_vec() -> MakeVecEnv:
    """Make several environments whose episodes end at different times."""

    def make(n_envs: int = 3, lengths: tuple[int, ...] | None = None, **options: Any) -> VecMonitor:
        lengths = lengths or tuple(range(3, 3 + n_envs))
        return VecMonitor(
            DummyVecEnv(
                [lambda length=length: SpaceEnv(length=length, **options) for length in lengths]
            )
        )

    return make


@pytest.fixture(params=CORES.values(), ids=CORES)
def core(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The policy arguments that select a core, for every core."""
    kwargs: dict[str, Any] = request.param
    return kwargs


@pytest.fixture(params=[name for name in OBSERVATIONS if name != "image"])
def observation(request: pytest.FixtureRequest) -> str:
    """The name of every observation space of a vector policy, and Dict."""
    name: str = request.param
    return name


@pytest.fixture(params=ACTIONS)
def action(request: pytest.FixtureRequest) -> str:
    """The name of every action space."""
    name: str = request.param
    return name


@pytest.fixture(params=[RecurrentA2C, RecurrentPPO])
def algorithm(request: pytest.FixtureRequest) -> type[RecurrentOnPolicyAlgorithm]:
    """Every algorithm."""
    one: type[RecurrentOnPolicyAlgorithm] = request.param
    return one
