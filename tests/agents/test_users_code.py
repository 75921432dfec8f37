"""Users' own code in the algorithm: hooks, methods, callbacks, and faulty environments."""

import copy
import types
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper
from torch import Tensor, nn
from torch.nn.utils import prune

from plasticrl.agents import PlasticPolicy, RecurrentA2C, make_vec_env
from plasticrl.core.state import leaves
from plasticrl.runs import DivergedError, UsageError

MASK = torch.tensor([0.0, -1e8, 0.0])
"""Added to the logits of three actions: the second is never taken."""


def make(env: Any, **options: Any) -> RecurrentA2C:
    chosen = {"n_steps": 16, "seed": 0, "device": "cpu", **options}
    return RecurrentA2C("PlasticPolicy", env, **chosen)


def weights(model: RecurrentA2C) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.policy.parameters()])


def hook_on_the_head(policy: PlasticPolicy) -> None:
    policy.action_net.register_forward_hook(lambda _module, _inputs, logits: logits + MASK)


def distribution_of_the_instance(policy: PlasticPolicy) -> None:
    def masked(self: PlasticPolicy, latent: Tensor) -> Any:
        return self.action_dist.proba_distribution(self.action_net(latent) + MASK)

    policy._get_action_dist_from_latent = types.MethodType(masked, policy)  # type: ignore[method-assign]


def probabilities_of_the_instance(policy: PlasticPolicy) -> None:
    original: Any = policy.action_dist.proba_distribution
    policy.action_dist.proba_distribution = lambda action_logits: original(action_logits + MASK)  # type: ignore[method-assign]


def head_of_another_kind(policy: PlasticPolicy) -> None:
    class Masked(nn.Linear):
        def forward(self, latent: Tensor) -> Tensor:
            return super().forward(latent) + MASK

    policy.action_net = Masked(policy.action_net.in_features, 3)


@pytest.mark.parametrize(
    "change",
    [
        hook_on_the_head,
        distribution_of_the_instance,
        probabilities_of_the_instance,
        head_of_another_kind,
    ],
    ids=lambda change: change.__name__,
)
@pytest.mark.parametrize("net_arch", [[], [4]])
def test_a_mask_is_obeyed(
    change: Callable[[PlasticPolicy], None], net_arch: list[int], make_vec: Any
) -> None:
    """Otherwise invalid actions are taken, although the loss uses the mask."""
    model = make(make_vec(), policy_kwargs={"net_arch": net_arch})
    change(model.policy)
    taken: list[int] = []

    def keep(found: dict[str, Any], _: Any) -> bool:
        taken.extend(found["actions"].tolist())
        return True

    model.learn(3 * 16 * 2, callback=keep)
    obs = np.zeros((200, 2, 3), dtype=np.float32)
    assert 1 not in {*taken, *model.predict(obs)[0].tolist()}
    assert {0, 2} <= set(taken)


@pytest.mark.parametrize("part", ["features_extractor", "core", "action_net"])
def test_hooks_fire_in_the_rollout_and_in_the_loss(part: str, make_vec: Any) -> None:
    """Otherwise a user's measurements or changes are missing in one of them."""
    model, calls = make(make_vec()), []
    getattr(model.policy, part).register_forward_hook(lambda *_: calls.append(part))
    model.collect_rollouts(*started(model))
    assert len(calls) >= (16 if part != "action_net" else 1)
    n_calls = len(calls)
    model.train()
    assert len(calls) > n_calls


class Overridden(PlasticPolicy):
    def get_distribution(self, *arguments: Any, **options: Any) -> Any:
        return super().get_distribution(*arguments, **options)


def test_an_override_that_would_not_be_called_is_refused(make_vec: Any) -> None:
    """Otherwise a mask is ignored, because a recurrent policy does not act by these methods."""
    model = RecurrentA2C(Overridden, make_vec(), n_steps=16, device="cpu")
    sentence = r"Overridden\.get_distribution is overridden, .* override distribution_of"
    for act in (lambda: model.learn(48), lambda: model.predict(np.zeros((1, 2, 3), np.float32))):
        with pytest.raises(UsageError, match=sentence):
            act()
    model = make(make_vec())
    model.policy.forward = lambda obs: obs  # type: ignore[method-assign]
    with pytest.raises(UsageError, match=r"PlasticPolicy\.forward is overridden"):
        model.learn(48)


@pytest.mark.parametrize("part", ["", "mlp_extractor"])
def test_a_hook_that_would_not_fire_is_refused(part: str, make_vec: Any) -> None:
    """Otherwise a user's hook would be registered and never called."""
    model = make(make_vec())
    model.policy.get_submodule(part).register_forward_hook(lambda *_: None)
    with pytest.raises(UsageError, match=r"a hook on .* would not be called: register it on"):
        model.learn(48)


def test_hidden_layers_of_another_kind(make_vec: Any) -> None:
    """Otherwise acting fails, because it expects a Sequential."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(100, 64)

        def forward(self, latent: Tensor) -> Tensor:
            return self.layer(latent)

    model = make(make_vec(), policy_kwargs={"net_arch": [64]})
    model.policy.mlp_extractor.policy_net = Net()
    model.learn(48)


def test_under_autocast(core: dict[str, Any], make_vec: Any) -> None:
    """Otherwise acting would fail, since NumPy has no bfloat16."""
    model = make(make_vec(), policy_kwargs=core)
    with torch.autocast("cpu", torch.bfloat16):
        model.learn(96)
        model.predict(np.zeros((1, 2, 3), np.float32))


def test_an_error_of_the_users_own_extractor_is_not_replaced(make_vec: Any) -> None:
    """Otherwise the user would be told to lower the learning rate."""

    class Checked(FlattenExtractor):
        def forward(self, observations: Tensor) -> Tensor:
            raise FloatingPointError("my own check")

    model = make(make_vec(), policy_kwargs={"features_extractor_class": Checked})
    with pytest.raises(FloatingPointError, match=r"^my own check$"):
        model.learn(48)


def test_discrete_observations_and_activity_that_is_not_finite(make_vec: Any) -> None:
    """Otherwise the error would be about the shape of the observations."""
    model = make(make_vec(observation="Discrete"))
    with torch.no_grad():
        model.policy.core.connection.weight.fill_(torch.inf)  # type: ignore[union-attr]
    with pytest.raises(DivergedError, match=r"^the weights core\.connection\.weight are"):
        model.learn(48)


def started(model: RecurrentA2C) -> tuple[Any, BaseCallback, Any, int]:
    """The arguments of ``collect_rollouts``."""
    _, callback = model._setup_learn(1000)
    return model.env, callback, model.rollout_buffer, model.n_steps


class Look(BaseCallback):
    def _on_rollout_end(self) -> None:
        assert isinstance(self.model, RecurrentA2C)
        next(iter(self.model.rollout_buffer.get(batch_size=None)))  # type: ignore[call-overload]

    def _on_step(self) -> bool:
        return True


def test_a_callback_may_read_the_rollout(observation: str, action: str, make_vec: Any) -> None:
    """Otherwise the update uses mixed-up steps, because SB3's ``get`` reorders the arrays."""
    policy = "MultiInputPlasticPolicy" if observation == "Dict" else "PlasticPolicy"
    after = []
    for callback in (None, Look()):
        env = make_vec(observation=observation, action=action)
        model = RecurrentA2C(policy, env, n_steps=8, seed=0, device="cpu")
        after.append(weights(model.learn(3 * 8 * 3, callback=callback)))
    torch.testing.assert_close(after[0], after[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("core", ["plastic_rnn", "lstm", "identity"])
def test_a_time_limit_without_a_last_observation(core: str, make_vec: Any) -> None:
    """Otherwise such environments fail with a KeyError. As in SB3, nothing is bootstrapped."""

    class Silent(VecEnvWrapper):
        def reset(self) -> Any:
            return self.venv.reset()

        def step_wait(self) -> Any:
            obs, rewards, dones, infos = self.venv.step_wait()
            for info in infos:
                info.pop("terminal_observation", None)
            return obs, np.ones_like(rewards), dones, infos

    model = make(
        Silent(make_vec(truncates=True)), policy_kwargs={"core": core}, gamma=0.5, gae_lambda=1.0
    )
    model.learn(3 * 16)
    assert (model.rollout_buffer.rewards == 1).all()


class Broken(gym.Env[Any, Any]):
    """An environment whose seventh step returns the given reward or observation."""

    observation_space = spaces.Box(-1, 1, (3,))
    action_space = spaces.Discrete(2)

    def __init__(self, reward: float = 0.0, obs: float = 0.0) -> None:
        self.reward, self.obs = reward, obs

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        now = self.t == 7
        obs = np.full(3, self.obs if now else 0, np.float32)
        return obs, self.reward if now else 0.0, self.t == 9, False, {}


@pytest.mark.parametrize("core", ["plastic_rnn", "lstm", "identity"])
@pytest.mark.parametrize("net_arch", [[], [4]])
@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"reward": float("nan")}, r"^environment 1 gave the reward nan \(after 14 steps\)$"),
        ({"reward": float("-inf")}, r"^environment 1 gave the reward -inf \(after 14 steps\)$"),
        (
            {"obs": float("nan")},
            r"^environment 1 gave an observation that is not finite \(after 14 steps\)$",
        ),
    ],
)
def test_a_number_that_is_not_finite_is_traced_to_its_environment(
    core: str, net_arch: list[int], broken: dict[str, float], sentence: str
) -> None:
    """Otherwise the user would be told to lower the learning rate."""
    env = DummyVecEnv([Broken, lambda: Broken(**broken)])
    model = make(env, policy_kwargs={"core": core, "net_arch": net_arch})
    with pytest.raises(FloatingPointError, match=sentence):
        model.learn(64)


def scale_a_weight(policy: PlasticPolicy) -> None:
    policy.action_net.weight.data *= 2  # does not change the weight's version counter


def replace_the_head(policy: PlasticPolicy) -> None:
    policy.action_net = copy.deepcopy(policy.action_net)


def method_of_the_policy(policy: PlasticPolicy) -> None:
    policy.extract_features = types.MethodType(PlasticPolicy.extract_features, policy)  # type: ignore[method-assign]


CHANGES = [scale_a_weight, replace_the_head, hook_on_the_head, method_of_the_policy]


@pytest.mark.parametrize("change", CHANGES)
def test_a_policy_that_is_changed_while_it_acts(
    change: Callable[[PlasticPolicy], None], make_vec: Any
) -> None:
    """Otherwise the compiled path uses the change one rollout later than the loss."""

    class Change(BaseCallback):
        def _on_step(self) -> bool:
            if self.n_calls == 8:
                change(self.model.policy)  # type: ignore[arg-type]
            return True

    with pytest.raises(UsageError, match=r"hooks were changed while it acted in a rollout"):
        make(make_vec()).learn(64, callback=Change())


def test_a_policy_that_is_changed_back_may_act_on(make_vec: Any) -> None:
    """Callbacks may evaluate averaged weights and then restore the original ones."""

    class Average(BaseCallback):
        def _on_step(self) -> bool:
            policy: Any = self.model.policy
            before = copy.deepcopy(policy.state_dict())
            policy.load_state_dict({name: value / 2 for name, value in before.items()})
            policy.predict(np.zeros((2, 2, 3), np.float32))
            policy.load_state_dict(before)
            return True

    make(make_vec()).learn(64, callback=Average())


def test_a_lazy_extractor_gets_its_weights_in_the_first_rollout(make_vec: Any) -> None:
    """A lazy extractor has no weights before the first rollout."""

    class Lazy(FlattenExtractor):
        def __init__(self, space: Any) -> None:
            super().__init__(space)
            self.layer = nn.LazyLinear(self.features_dim)

        def forward(self, observations: Tensor) -> Tensor:
            features: Tensor = self.layer(super().forward(observations))
            return features

    options = {"features_extractor_class": Lazy, "ortho_init": False}
    make(make_vec(), policy_kwargs=options).learn(64)


@pytest.mark.parametrize("change", CHANGES)
def test_a_policy_that_is_changed_before_a_rollout(
    change: Callable[[PlasticPolicy], None], make_vec: Any
) -> None:
    """The error message says that this is allowed."""

    class Change(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            change(self.model.policy)  # type: ignore[arg-type]

    make(make_vec()).learn(96, callback=Change())


def test_a_vector_environment_of_gymnasium_is_refused() -> None:
    """Otherwise the error would be about a missing attribute."""
    with pytest.raises(UsageError, match=r"plasticrl\.agents\.make_vec_env"):
        make(gym.make_vec("plasticrl/GridMaze-v0", num_envs=2))


def test_states_of_predict_in_every_method(core: dict[str, Any], make_vec: Any) -> None:
    """Otherwise the state of ``predict`` cannot give the values or the distribution of a step."""
    model = make(make_vec(), policy_kwargs=core)
    obs = np.ones((2, 2, 3), dtype=np.float32)
    _, state = model.predict(obs)
    seen = torch.as_tensor(obs)
    policy = model.policy
    step = policy.step(seen, policy.step(seen).state, deterministic=True)
    torch.testing.assert_close(policy.predict_values(seen, state), step.values)
    chosen = policy.get_distribution(seen, state).get_actions(deterministic=True)
    assert torch.equal(chosen, step.actions)
    values, _, _ = policy.evaluate_actions(seen, step.actions, state, torch.zeros(1, 2))
    torch.testing.assert_close(values, step.values)
    with pytest.raises(ValueError, match=r"episode_starts must be \(T, B\) for 2 observations"):
        policy.evaluate_actions(seen, step.actions, state, torch.zeros(2))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("core", ["plastic_rnn", "lstm", "identity"])
def test_a_traced_policy_is_no_constant(core: str) -> None:
    """Otherwise SB3's documented export would always give the same action."""

    class Exported(nn.Module):
        def __init__(self, policy: PlasticPolicy) -> None:
            super().__init__()
            self.policy = policy

        def forward(self, obs: Tensor) -> Any:
            return self.policy(obs, deterministic=True)

    model = make("CartPole-v1", policy_kwargs={"core": core})
    traced: Any = torch.jit.trace(Exported(model.policy), (torch.zeros(1, 4),), check_trace=False)
    observations = np.random.default_rng(0).normal(size=(50, 1, 4)).astype(np.float32)
    expected = [model.predict(obs, deterministic=True)[0].item() for obs in observations]
    actual = [traced(torch.as_tensor(obs))[0].item() for obs in observations]
    assert actual == expected
    assert len(set(actual)) == 2


def test_loading_in_mid_episode_begins_new_episodes(tmp_path: Any) -> None:
    """Otherwise an episode continues without the recurrent state of its earlier steps."""
    options = {"size": 5, "episode_length": 100}
    env = make_vec_env("plasticrl/GridMaze-v0", 2, seed=5, env_kwargs=options)
    make(env).learn(2 * 16).save(tmp_path / "agent.zip")
    with pytest.warns(UserWarning, match="force_reset=False has no effect"):
        loaded = RecurrentA2C.load(tmp_path / "agent.zip", env=env, force_reset=False)
    loaded.learn(2 * 16, reset_num_timesteps=False)
    assert loaded.rollout_buffer.episode_starts[0].all()
    assert all((leaf == 0).all() for leaf in leaves(loaded._start_state))


def test_pruned_weights(core: dict[str, Any], make_vec: Any) -> None:
    """Otherwise acting or the loss fails, or acting uses weights that were pruned."""
    model = make(make_vec(), policy_kwargs=core)
    part = next((p for p in model.policy.core.modules() if hasattr(p, "weight")), None)
    if part is None:
        part = model.policy.action_net
    prune.random_unstructured(part, "weight", 0.5)  # type: ignore[no-untyped-call]
    model.learn(96)
    assert (part.weight == 0).any()


def test_a_policy_can_be_copied_in_a_callback(core: dict[str, Any], make_vec: Any) -> None:
    """A callback that keeps the best policy works with SB3's A2C."""
    model, copies = make(make_vec(), policy_kwargs=core), []

    def keep(found: dict[str, Any], _: Any) -> bool:
        copies.append(copy.deepcopy(found["self"].policy))
        return True

    model.learn(96 + 3, callback=keep)
    assert len(copies) > 32
