"""Both algorithms with every space, core and policy: learn, predict, save, load, continue."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.agents.conftest import ACTIONS, CORES, OBSERVATIONS

from plasticrl.agents import RecurrentA2C, RecurrentPPO
from plasticrl.agents.on_policy import RecurrentOnPolicyAlgorithm

POLICY = {"Dict": "MultiInputPlasticPolicy", "image": "CnnPlasticPolicy"}
SMALL = {"core_kwargs": {"hidden_size": 7}}

Algorithm = type[RecurrentOnPolicyAlgorithm]
VECTORS = [name for name in OBSERVATIONS if name != "image"]


def every_pair(first: list[str], second: Iterable[str]) -> list[tuple[Algorithm, str, str]]:
    """Every pair of values with one algorithm; both algorithms with every value of ``second``."""
    pairs = list(itertools.product(enumerate(first), enumerate(second)))
    algorithms: list[Algorithm] = [RecurrentA2C, RecurrentPPO]
    return [(algorithms[(i + j) % 2], one, other) for (i, one), (j, other) in pairs]


def learn_and_continue(
    algorithm: Algorithm, env: Any, policy: str, core: dict[str, Any], path: Path
) -> None:
    model: Any = algorithm(policy, env, n_steps=5, policy_kwargs=core, seed=0, device="cpu")  # type: ignore[call-arg]
    before = weights(model)
    model.learn(15 * env.num_envs)
    assert differ(before, weights(model))
    obs = env.reset()
    actions, state = model.predict(obs)
    actions, _ = model.predict(obs, state, np.zeros(env.num_envs, bool))
    assert actions.shape == (env.num_envs, *env.action_space.shape)
    assert all(action in env.action_space for action in actions)
    first = {key: value[0] for key, value in obs.items()} if isinstance(obs, dict) else obs[0]
    assert model.predict(first)[0].shape == env.action_space.shape
    model.save(path)
    loaded = algorithm.load(path, env=env, device="cpu")
    assert not differ(weights(loaded), weights(model))
    ours, theirs = (one.predict(obs, state, deterministic=True)[0] for one in (model, loaded))
    np.testing.assert_array_equal(ours, theirs)
    loaded.learn(10 * env.num_envs, reset_num_timesteps=False)
    assert loaded.num_timesteps == 25 * env.num_envs
    assert differ(weights(loaded), weights(model))


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert one.keys() == other.keys()
    return any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("algorithm", "observation", "action"), every_pair(VECTORS, ACTIONS))
def test_every_pair_of_spaces(
    algorithm: Algorithm, observation: str, action: str, make_vec: Any, tmp_path: Path
) -> None:
    """Otherwise some environments cannot be used for training."""
    env = make_vec(observation=observation, action=action, truncates=True)
    policy = POLICY.get(observation, "PlasticPolicy")
    learn_and_continue(algorithm, env, policy, SMALL, tmp_path / "model.zip")


@pytest.mark.parametrize(("algorithm", "observation", "core_name"), every_pair(VECTORS, CORES))
def test_every_core(
    algorithm: Algorithm, observation: str, core_name: str, make_vec: Any, tmp_path: Path
) -> None:
    """Otherwise some cores cannot be used for training."""
    env, policy = make_vec(observation=observation), POLICY.get(observation, "PlasticPolicy")
    learn_and_continue(algorithm, env, policy, CORES[core_name], tmp_path / "model.zip")


@pytest.mark.parametrize(("algorithm", "observation", "action"), every_pair(["image"], ACTIONS))
def test_images_with_every_action_space(
    algorithm: Algorithm, observation: str, action: str, make_vec: Any, tmp_path: Path
) -> None:
    """Otherwise an agent with image observations cannot act in some spaces."""
    env = make_vec(observation=observation, action=action)
    learn_and_continue(algorithm, env, "CnnPlasticPolicy", SMALL, tmp_path / "model.zip")
