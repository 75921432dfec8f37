"""A rollout on a device equals the one on the host; here the device is torch's CPU."""

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from plasticrl.agents import RecurrentA2C, make_vec_env
from plasticrl.agents.rollout import DeviceRollout, HostRollout, _choose

N_ENVS, N_STEPS = 5, 17
ENVS: list[tuple[str, dict[str, Any]]] = [
    ("plasticrl/GridMaze-v0", {"size": 5, "episode_length": 11}),
    ("plasticrl/CueReward-v0", {"n_cues": 2, "cue_bits": 4, "episode_length": 11}),
]
CORES: list[tuple[str, dict[str, Any]]] = [
    ("plastic_rnn", {"modulation": "simple", "fan_out": True}),
    ("plastic_lstm", {"modulation": "simple", "modulator_input": "cell"}),
    ("lstm", {}),
]


class Episodes(BaseCallback):
    """Keeps every step's rewards and dones, and what infos say of finished episodes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def _on_step(self) -> bool:
        infos = [dict(info) for info in self.locals["infos"]]
        for info in infos:
            if "episode" in info:
                info["episode"] = {key: info["episode"][key] for key in ("r", "l")}
        self.seen.append((self.locals["rewards"], self.locals["dones"], infos))
        return True


def learner(device: str | None, env: int, core: int, **options: Any) -> RecurrentA2C:
    env_id, env_kwargs = ENVS[env]
    name, core_kwargs = CORES[core]
    policy_kwargs = {"core": name, "core_kwargs": {"hidden_size": 6, **core_kwargs}, "net_arch": []}
    return RecurrentA2C(
        "PlasticPolicy",
        make_vec_env(env_id, N_ENVS, 3, env_kwargs, device=device),
        n_steps=N_STEPS,
        bootstrap_truncated=False,
        policy_kwargs=policy_kwargs,
        seed=3,
        device="cpu",
        **options,
    )


@pytest.mark.parametrize("core", range(len(CORES)))
@pytest.mark.parametrize("env", range(len(ENVS)))
def test_the_device_sees_learns_and_tells_what_the_host_does(env: int, core: int) -> None:
    """Otherwise an agent trained on a GPU is another one."""
    models, told = [], []
    for device in (None, "cpu"):
        model, episodes = learner(device, env, core), Episodes()
        model.learn(3 * N_ENVS * N_STEPS, callback=episodes)
        models.append(model)
        told.append(episodes.seen)
    host, ours = models
    assert DeviceRollout.possible(ours.policy, ours.env)  # type: ignore[arg-type]
    assert len(told[0]) == len(told[1]) == 3 * N_STEPS
    for theirs, mine in zip(*told, strict=True):
        np.testing.assert_equal(mine, theirs)
    for name in ("observations", "actions", "rewards", "episode_starts"):
        a, b = (getattr(model.rollout_buffer, name) for model in models)
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(
        ours.rollout_buffer.returns, host.rollout_buffer.returns, rtol=1e-4, atol=1e-5
    )
    for a, b in zip(ours.policy.parameters(), host.policy.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    assert any(dones.any() for _, dones, _ in told[0])


def test_the_bootstrap_at_a_time_limit_goes_through_the_host() -> None:
    """Otherwise values after a time limit are of a state that has moved on."""
    model = learner("cpu", 0, 0)
    assert model._stays_on_device(model.env)  # type: ignore[arg-type]
    model.bootstrap_truncated = True
    assert not model._stays_on_device(model.env)  # type: ignore[arg-type]
    model.learn(2 * N_ENVS * N_STEPS)


def test_a_callback_stops_it_between_rollouts() -> None:
    """Otherwise observations of one step are continued with the environments of another."""

    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < 4

    model = learner("cpu", 0, 0)
    model.learn(10 * N_ENVS * N_STEPS, callback=Stop())
    assert model.num_timesteps == 4 * N_ENVS
    batch = model.env.batch  # type: ignore[union-attr]
    expected = batch.observe(*batch.state).numpy()
    np.testing.assert_array_equal(model._last_obs, expected)
    model.learn(N_ENVS * N_STEPS, reset_num_timesteps=False)


def test_a_diverged_core_says_so() -> None:
    """Otherwise NaN goes on as an action."""
    model = learner("cpu", 0, 0)
    with torch.no_grad():
        model.policy.core.connection.weight.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="not finite"):
        model.learn(N_ENVS * N_STEPS)


def test_an_environment_without_a_native_batch_is_stepped_on_the_host() -> None:
    """Otherwise other environments cannot be trained with a GPU's net."""
    env = make_vec_env("CartPole-v1", 2, 0)
    model = RecurrentA2C("PlasticPolicy", env, n_steps=4, bootstrap_truncated=False, device="cpu")
    assert not DeviceRollout.possible(model.policy, env)
    assert issubclass(DeviceRollout, HostRollout)
    model.learn(8)


def test_an_action_is_where_the_probabilities_reach_the_number() -> None:
    """Otherwise actions are drawn from another distribution; worked by hand."""
    probs = torch.tensor([[0.2, 0.3, 0.5]]).repeat(6, 1)
    uniform = torch.tensor([0.0, 0.19, 0.2, 0.49, 0.51, 0.999])
    assert _choose(probs, uniform).tolist() == [0, 0, 1, 1, 2, 2]
    assert _choose(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([0.0])).tolist() == [1]
