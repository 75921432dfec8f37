"""Models on a device that are trained together equal models that are trained by themselves.

``tests/agents/training/test_together.py`` tests runs on the host.
"""

from typing import Any

import pytest
import torch
from stable_baselines3.common.callbacks import CallbackList
from tests.agents.test_rollout import DEVICES, ENVS, N_ENVS, N_STEPS, learner

from plasticrl.agents import make_vec_env
from plasticrl.agents.population import PopulationA2C
from plasticrl.agents.rollout import DeviceRollout
from plasticrl.runs import get_rng_state

SEEDS = (0, 5)
PLASTIC = 3
"""The number of a plastic_rnn among the cores of ``test_rollout``."""


@pytest.mark.parametrize("place", DEVICES)
@pytest.mark.parametrize("env", range(len(ENVS)))
def test_models_on_a_device(place: str, env: int) -> None:
    """Otherwise seeds that are trained together on a GPU are not independent."""
    total = 3 * N_ENVS * N_STEPS
    own = [learner(place, env, PLASTIC, seed=seed).learn(total) for seed in SEEDS]
    models, states = [], []
    for seed in SEEDS:
        models.append(learner(place, env, PLASTIC, seed=seed))
        states.append(get_rng_state())
    env_id, env_kwargs = ENVS[env]
    envs: Any = make_vec_env(env_id, len(SEEDS) * N_ENVS, env_kwargs=env_kwargs, device=place)
    joint = PopulationA2C(models, states, envs)
    assert joint._kind_of_rollout(envs, CallbackList([])) is DeviceRollout
    joint.learn_together(total, [None] * len(SEEDS), CallbackList([]))
    for ours, theirs in zip(models, own, strict=True):
        assert ours.num_timesteps == theirs.num_timesteps == total
        assert ours.ep_info_buffer
        assert [info["r"] for info in ours.ep_info_buffer] == [
            info["r"] for info in theirs.ep_info_buffer or ()
        ]
        for a, b in zip(ours.policy.parameters(), theirs.policy.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_models_whose_rollouts_take_single_steps_are_refused() -> None:
    """Otherwise the bootstrap at time limits has states of a later step."""
    model = learner(None, 0, PLASTIC, bootstrap_truncated=True)
    assert model.env is not None
    with pytest.raises(ValueError, match="single steps"):
        PopulationA2C([model], [get_rng_state()], model.env)  # type: ignore[arg-type]
