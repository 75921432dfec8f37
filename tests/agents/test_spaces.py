"""Spaces that no policy can observe or act in, and observations outside their spaces."""

import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from plasticrl.agents import RecurrentA2C, make_vec_env
from plasticrl.agents.training.checked_env import CheckedEnv
from plasticrl.runs import UsageError

BOX, DISCRETE = spaces.Box(-1, 1, (3,)), spaces.Discrete(3)
TWO_AXES = spaces.MultiDiscrete(np.array([[2, 3], [2, 2]]))


class Sampling(gym.Env[Any, Any]):
    """Samples its observations."""

    def __init__(self, observed: spaces.Space[Any], acted: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observed, acted

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        assert np.shape(action) == self.action_space.shape
        return self.observation_space.sample(), 0.0, False, False, {}


def make(env: Any, policy: str = "PlasticPolicy") -> RecurrentA2C:
    options = {"core_kwargs": {"hidden_size": 4}}
    return RecurrentA2C(policy, env, n_steps=3, policy_kwargs=options, device="cpu")


@pytest.mark.parametrize(
    ("observed", "acted", "sentence"),
    [
        (BOX, spaces.Box(-np.inf, np.inf, (2,)), "must have finite bounds"),
        (BOX, spaces.Box(-1, 1, (0,)), "the action space Box([], [], (0,), float32) is empty"),
        (BOX, TWO_AXES, "the action space MultiDiscrete([[2 3] [2 2]]) must have one axis"),
        (BOX, spaces.MultiBinary((2, 2)), "MultiBinary((2, 2)) must have one axis"),
        (BOX, spaces.Discrete(10**9), "has 1,000,000,000 values, but may have at most 1,000,000"),
        (BOX, spaces.Dict({"a": DISCRETE}), "the action space is a Dict, but must be a Box"),
        (BOX, spaces.Discrete(3, start=1), "action space Discrete(3, start=1) must start at 0"),
        (spaces.Discrete(4, start=-1), DISCRETE, "observation space Discrete(4, start=-1) must st"),
        (spaces.Box(-1, 1, (0,)), DISCRETE, "the observation space Box([], [], (0,), float32) is"),
        (spaces.Box(-1, 1, ()), DISCRETE, "must have an axis: reshape it to (1,)"),
        (TWO_AXES, DISCRETE, "the observation space MultiDiscrete([[2 3] [2 2]]) must have one"),
        (spaces.Discrete(10**10), DISCRETE, "has 10,000,000,000 values"),
        (spaces.Text(5), DISCRETE, "the observation space is a Text, but must be a Box"),
        (
            spaces.Dict({"last_action": spaces.Discrete(3, start=1)}),
            DISCRETE,
            "with a wrapper, as gymnasium.wrappers.TransformObservation",
        ),
        (spaces.Tuple((BOX, BOX)), DISCRETE, "the observation space is a Tuple"),
        (spaces.Tuple((BOX, BOX)), DISCRETE, "make_vec_env(env_id, wrapper_class=FlattenObs"),
        (spaces.Sequence(BOX), DISCRETE, "MultiBinary space, use a wrapper that makes one"),
        (spaces.Dict({}), DISCRETE, "the observation space Dict() is empty"),
        (spaces.Dict({"a.b": BOX}), DISCRETE, "the observation 'a.b' has a name that torch cannot"),
        (spaces.Dict({"keys": BOX}), DISCRETE, "the observation 'keys' has a name that torch"),
        (spaces.Dict({"a": spaces.Dict({"b": BOX})}), DISCRETE, "the observation 'a' is a Dict"),
    ],
)
def test_a_space_that_is_not_supported(
    observed: spaces.Space[Any], acted: spaces.Space[Any], sentence: str
) -> None:
    """Otherwise the user sees an assertion of SB3's, or the memory runs out."""
    with pytest.raises(UsageError, match=re.escape(sentence)) as caught:
        make(Sampling(observed, acted))
    assert "\n" not in str(caught.value)


def test_a_tuple_is_flattened_as_the_sentence_says() -> None:
    """Otherwise the sentence gives a way out that does not work.

    The oracle is worked out by hand: one-hot codes of the two numbers, with the box between them.
    """
    observed = spaces.Tuple((spaces.Discrete(3), spaces.Box(0, 1, (2,)), spaces.Discrete(2)))

    class Memory(Sampling):
        def __init__(self) -> None:
            super().__init__(observed, DISCRETE)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return (2, np.array([0.25, 0.5], np.float32), 0), {}

    for env in (Memory(), make_vec_env(Memory, 2)):
        with pytest.raises(UsageError, match=r"wrapper_class=FlattenObservation\)$"):
            make(env)
    env = make_vec_env(Memory, 2, wrapper_class=gym.wrappers.FlattenObservation)
    np.testing.assert_array_equal(env.reset(), [[0, 0, 1, 0.25, 0.5, 1, 0]] * 2)
    make(env).learn(6)


def test_a_vec_env_with_a_space_that_is_not_supported() -> None:
    """Otherwise SB3's assertion comes first."""
    unbounded = spaces.Box(-np.inf, np.inf, (41,))  # NumPy prints it in several lines
    env = DummyVecEnv([lambda: Sampling(BOX, unbounded)])
    with pytest.raises(UsageError, match=r"^the action space .*inf.*must have finite bounds"):
        make(env)


@pytest.mark.parametrize(
    ("observed", "acted"),
    [
        (spaces.MultiBinary((2, 2)), DISCRETE),
        (spaces.Box(0, 10, (3,), dtype=np.int64), spaces.Discrete(1)),
        (spaces.Box(0, 1, (2, 2), dtype=bool), spaces.MultiBinary(2)),
        (BOX, spaces.Box(-1, 1, ())),
        (BOX, spaces.Box(0, 10, (2, 2), dtype=np.int64)),
    ],
)
def test_an_odd_space_that_is_supported(
    observed: spaces.Space[Any], acted: spaces.Space[Any]
) -> None:
    """Otherwise the checks refuse what has worked."""
    make(Sampling(observed, acted)).learn(6)


@pytest.mark.parametrize(
    ("policy", "observed", "fitting"),
    [
        ("MultiInputPlasticPolicy", BOX, "use PlasticPolicy"),
        ("PlasticPolicy", spaces.Dict({"a": BOX}), "use MultiInputPlasticPolicy"),
        ("CnnPlasticPolicy", spaces.Dict({"a": BOX}), "use MultiInputPlasticPolicy"),
        ("CnnPlasticPolicy", BOX, "use PlasticPolicy"),
    ],
)
def test_a_policy_for_other_observations(
    policy: str, observed: spaces.Space[Any], fitting: str
) -> None:
    """Otherwise the error is about a missing attribute."""
    with pytest.raises(UsageError, match=f"{policy} does not fit .*: {fitting}"):
        make(Sampling(observed, DISCRETE), policy)


class Wrong(Sampling):
    """Returns what it is told to."""

    def __init__(self, observed: spaces.Space[Any], returned: Any) -> None:
        super().__init__(observed, DISCRETE)
        self.returned = returned

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.returned, {}

    def step(self, action: Any) -> Any:
        return self.returned


@pytest.mark.parametrize(
    ("observed", "obs", "sentence"),
    [
        (BOX, np.zeros(1), "of shape (1,), but its space has (3,)"),
        (BOX, 0.0, "of shape (), but its space has (3,)"),
        (BOX, np.zeros((1, 3)), "of shape (1, 3), but its space has (3,)"),
        (DISCRETE, np.zeros(1), "of shape (1,), but its space has ()"),
        (spaces.Dict({"a": BOX}), {"a": 1.0}, "an observation 'a' of shape (), but its space"),
        (spaces.Dict({"a": BOX}), {"b": np.zeros(3)}, "whose keys are not ['a']"),
        (spaces.Dict({"a": BOX}), np.zeros(3), "whose keys are not ['a']"),
    ],
)
def test_an_observation_that_does_not_fit_its_space(
    observed: spaces.Space[Any], obs: Any, sentence: str
) -> None:
    """Otherwise SB3 would repeat it until it fits."""
    env = Wrong(observed, obs)
    with pytest.raises(ValueError, match=re.escape("reset returned an observation")) as caught:
        CheckedEnv(env).reset()
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        ((np.zeros(1), 0.0, False, False, {}), "an observation of shape (1,)"),
        ((np.zeros(3), "1.5", False, False, {}), "the reward '1.5', which is not a number"),
        ((np.zeros(3), None, False, False, {}), "the reward None, which is not a number"),
        ((np.zeros(3), 0.0, "False", False, {}), "terminated='False', which is not a bool"),
        ((np.zeros(3), 0.0, False, None, {}), "truncated=None, which is not a bool"),
        ((np.zeros(3), 0.0, np.zeros(2), False, {}), "terminated=array([0., 0.]), which is not"),
    ],
)
def test_a_step_that_sb3_would_take_for_another(returned: Any, sentence: str) -> None:
    """Otherwise the word "False" ends an episode, and None is a reward."""
    with pytest.raises(ValueError, match=re.escape(f"step returned {sentence}")):
        CheckedEnv(Wrong(BOX, returned)).step(0)


@pytest.mark.parametrize("reward", [1, np.float64(1), np.ones(1), torch.tensor(1.0)])
@pytest.mark.parametrize("flag", [False, 0, np.bool_(False), torch.tensor(False), np.zeros(1)])
def test_numbers_and_flags_of_any_library(reward: Any, flag: Any) -> None:
    """Otherwise environments that worked are refused."""
    returned = (np.zeros(3), reward, flag, flag, {})
    assert CheckedEnv(Wrong(BOX, returned)).step(0) == returned
