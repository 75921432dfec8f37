"""A rollout on a device equals one on the host; the device here is torch's CPU."""

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from plasticrl.agents import RecurrentA2C, make_vec_env
from plasticrl.agents.rollout import DeviceRollout, HostRollout, _DeviceLoop, _sample_categorical

N_ENVS, N_STEPS = 5, 17
ENVS: list[tuple[str, dict[str, Any]]] = [
    ("plasticrl/GridMaze-v0", {"size": 5, "episode_length": 11}),
    ("plasticrl/CueReward-v0", {"n_cues": 2, "cue_bits": 4, "episode_length": 11}),
    ("plasticrl/TMaze-v0", {"corridor_length": 1, "episode_length": 11}),
    (
        "plasticrl/TransitiveInference-v0",
        {"n_training_trials": 0, "item_bits": 10, "episode_length": 11},
    ),
    ("plasticrl/Harlow-v0", {"n_trials": 1, "n_objects": 5, "episode_length": 11}),
]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
SEPARATE = {"share_features_extractor": False}
CORES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("identity", {}, {}),
    ("gru", {}, {}),
    ("plastic_rnn", {"modulation": "retroactive"}, {}),
    ("plastic_rnn", {"modulation": "simple", "fan_out": True}, {}),
    ("plastic_lstm", {"modulation": "simple", "modulator_input": "cell"}, {}),
    ("lstm", {}, {}),
    ("lstm", {}, SEPARATE),
    ("plastic_rnn", {"modulation": "simple"}, SEPARATE),
]


class Episodes(BaseCallback):
    """Stores every step's rewards and dones, and the infos of finished episodes."""

    acts_in_rollouts = False

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def _on_step(self) -> bool:
        infos = [dict(info) for info in self.locals["infos"]]
        for info in infos:
            if "episode" in info:
                info["episode"] = {key: info["episode"][key] for key in ("r", "l")}
        names = ("rewards", "dones", "new_obs", "actions", "clipped_actions")
        self.seen.append([infos, *(self.locals[name].copy() for name in names)])
        return True


def learner(device: str | None, env: int, core: int, **options: Any) -> RecurrentA2C:
    env_id, env_kwargs = ENVS[env]
    name, core_kwargs, separate = CORES[core]
    policy_kwargs: dict[str, Any] = {
        "core": name,
        "core_kwargs": {"hidden_size": 6, **core_kwargs},
        "net_arch": [] if core % 2 else [4],
        **separate,
    }
    if name == "identity":
        policy_kwargs["core_kwargs"] = {}
    defaults = {
        "n_steps": N_STEPS,
        "bootstrap_truncated": False,
        "seed": 3,
        # In its blank steps all rows see the same, and a rollout of one of them has equal
        # advantages, whose rounding errors would be scaled to a standard deviation of 1.
        "normalize_advantage": env_id != "plasticrl/TransitiveInference-v0",
    }
    return RecurrentA2C(
        "PlasticPolicy",
        make_vec_env(env_id, N_ENVS, 3, env_kwargs=env_kwargs, device=device),
        policy_kwargs=policy_kwargs,
        device=device or "cpu",
        **{**defaults, **options},
    )


@pytest.mark.parametrize("place", DEVICES)
@pytest.mark.parametrize("core", range(len(CORES)))
@pytest.mark.parametrize("env", range(len(ENVS)))
def test_the_device_gives_the_same_results_as_the_host(place: str, env: int, core: int) -> None:
    """Otherwise training on a GPU gives another agent.

    Every core in every environment; each of both is tested with rollouts of one and more steps.
    """
    n_steps = 1 if (env + core) % 2 else N_STEPS
    n_updates = 3 * N_STEPS // n_steps
    models, told = [], []
    for device in (None, place):
        model, episodes = learner(device, env, core, n_steps=n_steps), Episodes()
        episodes.acts_in_rollouts = device is None
        model.learn(n_updates * N_ENVS * n_steps, callback=episodes)
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
        torch.testing.assert_close(a.cpu(), b, rtol=1e-3, atol=1e-5)
    assert any(dones.any() for _, _, dones, *_ in told[0])


def test_the_bootstrap_at_a_time_limit_goes_through_the_host() -> None:
    """Otherwise values after a time limit have the state of a later step."""
    model = learner("cpu", 0, 0)
    assert model._kind_of_rollout(model.env, Episodes()) is DeviceRollout  # type: ignore[arg-type]
    model.bootstrap_truncated = True
    assert model._kind_of_rollout(model.env, Episodes()) is HostRollout  # type: ignore[arg-type]
    model.learn(2 * N_ENVS * N_STEPS)


def test_a_callback_stops_it_between_rollouts() -> None:
    """Otherwise the next observation does not belong to the environments' state."""

    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < 4

    model = learner("cpu", 0, 3)
    model.learn(10 * N_ENVS * N_STEPS, callback=Stop())
    assert model.num_timesteps == 4 * N_ENVS
    batch = model.env.batch  # type: ignore[union-attr]
    expected = batch.observe(*batch.state).numpy()
    np.testing.assert_array_equal(model._last_obs, expected)
    model.learn(N_ENVS * N_STEPS, reset_num_timesteps=False)
    assert model.ep_info_buffer
    assert {info["l"] for info in model.ep_info_buffer} == {11}


def test_a_diverged_core_raises_an_error() -> None:
    """Otherwise NaN is used as an action."""
    model = learner("cpu", 0, 3)
    with torch.no_grad():
        model.policy.core.connection.weight.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="not finite"):
        model.learn(N_ENVS * N_STEPS)
    model = learner("cpu", 0, 3)
    with torch.no_grad():
        model.policy.action_net.bias.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="not finite"):
        model.learn(N_ENVS * N_STEPS)


@pytest.mark.parametrize("core", range(len(CORES)))
@pytest.mark.parametrize("env", range(len(ENVS)))
def test_a_step_never_waits_for_the_device(env: int, core: int) -> None:
    """Otherwise it cannot be captured. Torch's meta tensors have no values to wait for."""
    model = learner("cpu", env, core)
    policy = model.policy.to("meta")
    vec_env = make_vec_env(ENVS[env][0], N_ENVS, 3, env_kwargs=ENVS[env][1], device="meta")
    state = policy.initial_state(N_ENVS)
    starts = np.ones(N_ENVS, dtype=bool)
    obs = np.zeros((N_ENVS, *vec_env.observation_space.shape), dtype=np.float32)  # type: ignore[misc]
    loop = _DeviceLoop(DeviceRollout(policy, vec_env, state, obs, starts, 3))
    with torch.no_grad():
        for _ in range(3):
            loop.step()


def test_a_policy_elsewhere_is_stepped_on_the_host() -> None:
    """Otherwise a step mixes tensors of two devices."""
    model = learner("cpu", 0, 0)
    elsewhere = make_vec_env(ENVS[0][0], N_ENVS, 3, env_kwargs=ENVS[0][1], device="meta")
    assert not DeviceRollout.possible(model.policy, elsewhere)


def test_a_device_without_a_native_batch_is_refused() -> None:
    """Otherwise the option is ignored."""
    with pytest.raises(ValueError, match="native batch, and CartPole-v1 has none"):
        make_vec_env("CartPole-v1", 2, 0, device="cpu")


def test_an_environment_without_a_native_batch_is_stepped_on_the_host() -> None:
    """Otherwise a net on a GPU cannot be trained in other environments."""
    env = make_vec_env("CartPole-v1", 2, 0)
    model = RecurrentA2C("PlasticPolicy", env, n_steps=4, bootstrap_truncated=False, device="cpu")
    assert not DeviceRollout.possible(model.policy, env)
    model.learn(8)


def test_an_action_is_where_the_probabilities_reach_the_number() -> None:
    """Worked by hand; otherwise actions have another distribution."""
    probs = torch.tensor([[0.2, 0.3, 0.5]]).repeat(6, 1)
    uniform = torch.tensor([0.0, 0.19, 0.2, 0.49, 0.51, 0.999])
    assert _sample_categorical(probs, uniform).tolist() == [0, 0, 1, 1, 2, 2]
    assert _sample_categorical(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([0.0])).tolist() == [1]
