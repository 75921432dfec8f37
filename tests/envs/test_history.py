"""The history wrapper on every kind of action and observation."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from plasticrl.envs import HistoryObservation


class Toy(gym.Env[Any, Any]):
    """Any spaces: observations are samples of theirs, and step t earns t / 2."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, observation: spaces.Space[Any], action: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation, action

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.observation_space.sample(), self.steps / 2, False, False, {}


FLAT = spaces.Box(-1, 1, (3,), np.float32)
IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)


@pytest.mark.parametrize(
    ("space", "action", "code"),
    [
        (spaces.Discrete(3), 2, [0, 0, 1]),
        (spaces.Discrete(3, start=5), 5, [1, 0, 0]),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 0]), [0, 1, 1, 0, 0]),
        (spaces.MultiBinary(4), np.array([1, 0, 0, 1], dtype=np.int8), [1, 0, 0, 1]),
        (spaces.Box(-1, 1, (2, 2)), np.array([[0.5, -1], [0, 1]], np.float32), [0.5, -1, 0, 1]),
        (spaces.Box(1, 3, (1,)), np.array([9.0], np.float32), [3.0]),
    ],
    ids=["discrete", "shifted", "multidiscrete", "multibinary", "box", "box without zero"],
)
def test_actions(space: Any, action: Any, code: list[float]) -> None:
    env = HistoryObservation(Toy(FLAT, space), horizon=4)
    first, _ = env.reset(seed=0)
    assert first[3:].tolist() == [0, 0] + [0] * len(code)
    assert env.observation_space.contains(first)
    for step in range(1, 7):
        observation, *_ = env.step(action)
        assert observation[3:].tolist() == [min(step / 4, 1), step / 2, *code]
        assert env.observation_space.contains(observation)
    again, _ = env.reset()
    assert again[3:].tolist() == [0, 0] + [0] * len(code)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_flat_observation_comes_first_and_keeps_its_dtype(dtype: Any) -> None:
    env = HistoryObservation(Toy(spaces.Box(-1, 1, (3,), dtype), spaces.Discrete(2)), horizon=4)
    inner = Toy(spaces.Box(-1, 1, (3,), dtype), spaces.Discrete(2))
    observation, _ = env.reset(seed=3)
    np.testing.assert_array_equal(observation[:3], inner.reset(seed=3)[0])
    assert observation.dtype == dtype
    assert env.observation_space.dtype == dtype
    assert env.observation_space.shape == (7,)


@pytest.mark.parametrize(
    "space",
    [
        IMAGE,
        spaces.Discrete(5),
        spaces.Dict({"a": FLAT, "b": spaces.Discrete(2)}),
        spaces.Box(0, 9, (3,), np.int64),
        spaces.Box(-1, 1, (2, 3), np.float32),
    ],
    ids=["image", "discrete", "dict", "integers", "matrix"],
)
def test_other_observations_become_a_dict(space: Any) -> None:
    env = HistoryObservation(Toy(space, spaces.Discrete(2)), horizon=10)
    inner = Toy(space, spaces.Discrete(2))
    observation, _ = env.reset(seed=1)
    assert set(observation) == {"observation", "action", "reward", "time"}
    expected, _ = inner.reset(seed=1)
    assert space.contains(observation["observation"])
    assert str(observation["observation"]) == str(expected)
    assert observation["action"].tolist() == [0, 0]
    observation, *_ = env.step(1)
    assert observation["action"].tolist() == [0, 1]
    assert observation["reward"].tolist() == [0.5]
    assert observation["time"].tolist() == [np.float32(0.1)]
    assert env.observation_space.contains(observation)


# What check_env says of any wrapper, and of CartPole and of a reward without bounds.
wrapped = [
    "ignore:.*is different from the unwrapped version",
    "ignore:.*(minimum|maximum) value is -?infinity",
]


@pytest.mark.filterwarnings(*wrapped)
def test_check_env_on_cartpole() -> None:
    env = HistoryObservation(gym.make("CartPole-v1"))
    assert env.horizon == 500
    assert env.observation_space.shape == (4 + 2 + 2,)
    check_env(env, skip_render_check=True)
    sb3_check_env(HistoryObservation(gym.make("CartPole-v1")))


@pytest.mark.filterwarnings(*wrapped, "ignore:.*Not able to test alternative render modes")
def test_check_env_on_images() -> None:
    check_env(HistoryObservation(Toy(IMAGE, spaces.Discrete(2)), horizon=10))
    sb3_check_env(HistoryObservation(Toy(IMAGE, spaces.Discrete(2)), horizon=10))


def test_spec_remakes_the_wrapper() -> None:
    env = HistoryObservation(gym.make("CartPole-v1"), horizon=50)
    assert env.spec is not None
    again = gym.make(env.spec)
    assert isinstance(again, HistoryObservation)
    assert again.horizon == 50


def test_unknown_horizon() -> None:
    with pytest.raises(ValueError, match="horizon must be given"):
        HistoryObservation(Toy(FLAT, spaces.Discrete(2)))


@pytest.mark.parametrize("horizon", [0, -3, 2.5, "10", float("nan"), True])
def test_bad_horizon(horizon: Any) -> None:
    with pytest.raises(ValueError, match=r"horizon must be an integer of at least 1.*got"):
        HistoryObservation(Toy(FLAT, spaces.Discrete(2)), horizon=horizon)


def test_other_action_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match=r"action space must be.*Text"):
        HistoryObservation(Toy(FLAT, spaces.Text(3)), horizon=10)
