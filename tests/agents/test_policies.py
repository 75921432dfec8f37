"""The policies, which take a state, return the new one and store none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    MultiCategoricalDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from plasticrl.agents import (
    CnnPlasticPolicy,
    MultiInputPlasticPolicy,
    PlasticPolicy,
    RecurrentA2C,
)
from plasticrl.agents.options import CORES
from plasticrl.agents.policies import simpson_concentration
from plasticrl.core import sequence
from plasticrl.core.state import detach, leaves, map_leaves

VECTOR = spaces.Box(-1.0, 1.0, (3,), np.float32)
DICT = spaces.Dict({"a": VECTOR, "b": spaces.Discrete(3)})
IMAGE = spaces.Box(0, 255, (1, 36, 36), np.uint8)
CHOICE = spaces.Discrete(3)
RECURRENT = [name for name in CORES if name != "identity"]

Kind = tuple[type[PlasticPolicy], spaces.Space[Any]]
KINDS: list[Kind] = [
    (PlasticPolicy, VECTOR),
    (CnnPlasticPolicy, IMAGE),
    (MultiInputPlasticPolicy, DICT),
]
all_kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[0].__name__)


def make(
    policy_class: type[PlasticPolicy] = PlasticPolicy,
    observation_space: spaces.Space[Any] = VECTOR,
    action_space: spaces.Space[Any] = CHOICE,
    **options: Any,
) -> PlasticPolicy:
    """A policy with weights from N(0, .5^2), large enough that states and traces change."""
    torch.manual_seed(1)
    policy = policy_class(observation_space, action_space, lambda _: 1e-3, **options)
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return policy


def observations(space: spaces.Space[Any], n_envs: int, seed: int = 0) -> Any:
    space.seed(seed)
    drawn = [space.sample() for _ in range(n_envs)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([obs[key] for obs in drawn]) for key in space.spaces}
    return np.stack(drawn)


def row(obs: Any, index: int) -> Any:
    return (
        {key: value[index] for key, value in obs.items()} if isinstance(obs, dict) else obs[index]
    )


def clone(arrays: tuple[np.ndarray, ...] | None) -> tuple[np.ndarray, ...]:
    assert arrays is not None
    return tuple(array.copy() for array in arrays)


# Construction


@pytest.mark.parametrize("name", CORES)
def test_every_core_by_name(name: str) -> None:
    """Otherwise a documented name builds another core."""
    policy = make(core=name)
    assert type(policy.core).__name__.lower() == name.replace("_", "")


def test_the_default_core_is_modulated_with_fan_out() -> None:
    """Otherwise the default agent is not the documented one."""
    policy = make()
    plasticity = policy.core.connection.plasticity  # type: ignore[union-attr]
    assert type(policy.core).__name__ == "PlasticRNN"
    assert (plasticity.modulation, plasticity.fan_out) == ("simple", True)
    assert make(core_kwargs={"clip": 2.5}).core.connection.plasticity.clip == 2.5  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"core": "transformer"}, "transformer"),
        ({"core": "plastic_readout"}, "plastic_readout"),
        ({"core": "rnn", "core_kwargs": {"modulation": "simple"}}, "modulation"),
        ({"core": "lstm", "core_kwargs": {"hidden_size": 0}}, "hidden_size"),
        ({"core": "identity", "core_kwargs": {"hidden_size": 5}}, "hidden_size"),
        ({"core": "plastic_rnn", "core_kwargs": {"rule": "anti"}}, "rule"),
        ({"core": "plastic_rnn", "core_kwargs": {"fan_out": True}}, "fan_out"),
        ({"core_kwargs": {"eta_init": 0.5}}, "eta_init"),
        ({"core": "plastic_lstm", "core_kwargs": {"bound": "decay", "rule": "oja"}}, "decay"),
        ({"use_sde": True}, "use_sde"),
    ],
)
def test_a_bad_argument_is_named(options: dict[str, Any], words: str) -> None:
    """Otherwise an option is ignored, or the user has to guess which one is wrong."""
    with pytest.raises(ValueError, match=words):
        make(**options)


def test_the_default_core_can_do_without_modulation() -> None:
    """Otherwise the error is about a default option that the user never set."""
    policy = make(core_kwargs={"modulation": "none", "hidden_size": 4})
    assert policy.core.connection.modulator is None  # type: ignore[union-attr]


@all_kinds
def test_one_optimizer_owns_every_parameter_once(kind: Kind, core: dict[str, Any]) -> None:
    """Otherwise a part of the net is not trained, or is updated twice."""
    policy = make(*kind, **core)
    owned = [id(p) for group in policy.optimizer.param_groups for p in group["params"]]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(parameter) for parameter in policy.parameters()}
    core_parameters = {id(parameter) for parameter in policy.core.parameters()}
    assert core_parameters <= set(owned)


def test_the_net_arch_lies_between_core_and_heads() -> None:
    """Otherwise ``net_arch`` has no effect."""
    policy = make(net_arch={"pi": [5], "vf": [4, 6]}, activation_fn=torch.nn.ReLU)
    assert policy.action_net.in_features == 5
    assert policy.value_net.in_features == 6
    assert isinstance(policy.mlp_extractor.policy_net[1], torch.nn.ReLU)
    assert make().action_net.in_features == 64  # SB3's default
    heads_on_the_core = make(net_arch=[])
    assert heads_on_the_core.action_net.in_features == heads_on_the_core.core.hidden_size


# Saving


@all_kinds
def test_a_policy_saved_alone_loads_with_its_own_sizes(kind: Kind, tmp_path: Path) -> None:
    """Otherwise loading fails or makes another net, as in sb3-contrib."""
    options = {
        "core": "plastic_lstm",
        "core_kwargs": {"hidden_size": 5, "modulation": "retroactive", "clip": 0.3},
        "net_arch": [6],
        "activation_fn": torch.nn.ReLU,
        "optimizer_class": torch.optim.RMSprop,
    }
    saved = make(*kind, **options)
    saved.save(str(tmp_path / "policy.pt"))
    loaded = kind[0].load(str(tmp_path / "policy.pt"))
    assert loaded.core.connection.plasticity == saved.core.connection.plasticity  # type: ignore[union-attr]
    assert type(loaded.optimizer) is torch.optim.RMSprop
    obs = observations(kind[1], 2)
    state_saved = state_loaded = None
    for _ in range(3):
        ours, state_saved = saved.predict(obs, state_saved, deterministic=True)
        theirs, state_loaded = loaded.predict(obs, state_loaded, deterministic=True)
        np.testing.assert_array_equal(ours, theirs)
    for left, right in zip(clone(state_saved), clone(state_loaded), strict=True):
        np.testing.assert_array_equal(left, right)


def test_every_argument_is_saved() -> None:
    """Otherwise a new keyword is lost when a policy is saved."""
    data = make(log_std_init=-1.0, action_space=VECTOR)._get_constructor_parameters()
    names = set(PlasticPolicy.__init__.__annotations__) - {"return", "lr_schedule", "use_sde"}
    assert names <= set(data)


def test_the_weights_do_not_depend_on_the_environments(core: dict[str, Any]) -> None:
    """Otherwise a model cannot be loaded for another number of environments."""
    policy = make(**core)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    for n_envs in (3, 5):
        policy.predict(observations(VECTOR, n_envs), None, np.ones(n_envs, bool))
    after = policy.state_dict()
    buffers = dict(policy.named_buffers())
    own = ("value_mean", "value_std", "n_rescaled")
    assert {buffers.pop(name).shape for name in own} == {()}
    assert {buffer.shape for buffer in buffers.values()} <= {(1, 1)}  # a constant alpha
    weights = [*policy.named_parameters(), *policy.named_buffers()]
    assert before.keys() == after.keys() == dict(weights).keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


# predict


@all_kinds
def test_an_unbatched_observation_is_a_batch_of_one(kind: Kind, core: dict[str, Any]) -> None:
    """Otherwise acting in one environment differs from acting in many."""
    policy = make(*kind, **core)
    batched: tuple[np.ndarray, ...] | None = None
    alone: tuple[np.ndarray, ...] | None = None
    for step in range(3):
        obs = observations(kind[1], 3, seed=step)
        many, batched = policy.predict(obs, batched, np.full(3, step == 0), deterministic=True)
        one, alone = policy.predict(row(obs, 1), alone, np.array([step == 0]), deterministic=True)
        assert one.shape == ()
        assert one == many[1]
        for left, right in zip(clone(batched), clone(alone), strict=True):
            largest = np.abs(right).max(initial=0)
            # Single precision is relative: the state of some cells has numbers far above 1.
            np.testing.assert_allclose(
                left[1:2], right, atol=1e-6 if largest < 2 else 1e-5 * largest
            )


def test_every_observation_and_action_space(observation: str, action: str, make_env: Any) -> None:
    """Otherwise ``predict`` returns an action that the environment rejects."""
    env = make_env(observation, action)
    policy_class = MultiInputPlasticPolicy if observation == "Dict" else PlasticPolicy
    policy = make(policy_class, env.observation_space, env.action_space)
    obs = observations(env.observation_space, 4)
    many, state = policy.predict(obs)
    one, _ = policy.predict(row(obs, 0))
    assert many.shape == (4, *env.action_space.shape)
    assert all(chosen in env.action_space for chosen in many)
    assert one.shape == env.action_space.shape
    assert all(len(leaf) == 4 for leaf in clone(state))


def test_no_state_is_the_initial_state() -> None:
    """Otherwise the first action of an evaluation depends on earlier calls."""
    policy = make()
    obs = observations(VECTOR, 2)
    _, used = policy.predict(obs)
    for starts in (None, np.zeros(2), np.ones(2)):
        np.testing.assert_array_equal(
            clone(policy.predict(obs, None, starts)[1])[1], clone(used)[1]
        )
    zeros = tuple(leaf.numpy() for leaf in leaves(policy.initial_state(2)))
    np.testing.assert_array_equal(clone(policy.predict(obs, zeros)[1])[1], clone(used)[1])


@pytest.mark.parametrize("name", RECURRENT)
def test_an_episode_start_resets_its_own_row_only(name: str) -> None:
    """Otherwise memory leaks into the next episode, or is lost within one."""
    policy = make(core=name)
    obs = observations(VECTOR, 2)
    first = policy.predict(obs)[1]
    carried = clone(policy.predict(obs, first)[1])
    mixed = clone(policy.predict(obs, first, np.array([True, False]))[1])
    for start, went_on, both in zip(clone(first), carried, mixed, strict=True):
        np.testing.assert_allclose(both[0], start[0], atol=1e-6)
        np.testing.assert_array_equal(both[1], went_on[1])
    assert not np.allclose(carried[0][0], mixed[0][0])


def test_later_edits_of_the_arrays_change_nothing(core: dict[str, Any]) -> None:
    """Otherwise SB3's ``evaluate_policy``, which changes its arrays, changes earlier results."""
    policy = make(**core)
    obs, starts = observations(VECTOR, 2), np.array([True, True])
    _, state = policy.predict(obs, None, starts)
    starts[:] = False
    given, kept = clone(state), clone(state)
    _, new_state = policy.predict(obs, given, starts)
    expected = clone(new_state)
    for array in (*given, starts, obs):
        array[:] = 1
    for left, right in zip(clone(new_state), expected, strict=True):
        np.testing.assert_array_equal(left, right)
    for left, right in zip(clone(state), kept, strict=True):
        np.testing.assert_array_equal(left, right)


def test_the_given_arrays_are_left_alone() -> None:
    """Otherwise ``predict`` changes the state of its caller."""
    policy = make()
    obs, starts = observations(VECTOR, 2), np.array([True, False])
    state = clone(policy.predict(obs)[1])
    before = [array.copy() for array in (obs, starts, *state)]
    policy.predict(obs, state, starts)
    for left, right in zip((obs, starts, *state), before, strict=True):
        np.testing.assert_array_equal(left, right)


def test_obs_and_info_together_give_sb3s_error() -> None:
    """Otherwise a common mistake with Gymnasium gives an obscure message."""
    pair = (observations(VECTOR, 1)[0], {})
    plain = ActorCriticPolicy(VECTOR, CHOICE, lambda _: 1e-3)
    with pytest.raises(ValueError, match="tuple") as theirs:
        plain.predict(pair)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tuple") as ours:
        make().predict(pair)  # type: ignore[arg-type]
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize(
    ("other", "n_envs"),
    [("plastic_rnn", 3), ("lstm", 2), ("rnn", 2), ("identity", 2), ("plastic_lstm", 2)],
)
def test_a_state_that_does_not_fit_is_an_error(other: str, n_envs: int) -> None:
    """Otherwise a state of another batch or net is used, or the message is obscure."""
    state = make(core=other).predict(observations(VECTOR, n_envs))[1]
    with pytest.raises(ValueError, match="state"):
        make(core="plastic_rnn").predict(observations(VECTOR, 2), state)


def test_episode_starts_of_another_batch_are_an_error() -> None:
    """Otherwise they are broadcast, and the wrong rows are reset."""
    with pytest.raises(ValueError, match="episode_starts"):
        make().predict(observations(VECTOR, 2), None, np.array([True]))


def test_box_actions_are_clipped_and_others_are_not_touched() -> None:
    """Otherwise an environment gets an action outside its bounds."""
    low_high = spaces.Box(np.float32([-0.1, 0.0]), np.float32([0.1, 2.0]))
    policy = make(action_space=low_high)
    np.testing.assert_allclose(
        policy.clip(np.array([[-5.0, 1.0], [5.0, 5.0]])), [[-0.1, 1], [0.1, 2]]
    )
    raw = np.array([7, 8])
    assert make().clip(raw) is raw


def test_deterministic_takes_the_most_likely_action() -> None:
    """Otherwise an evaluation is noisy, or the training does not explore."""
    policy = make()
    obs = observations(VECTOR, 1).repeat(200, axis=0)
    certain, _ = policy.predict(obs, deterministic=True)
    sampled, _ = policy.predict(obs)
    probs = policy.get_distribution(torch.as_tensor(obs[:1])).distribution.probs[0]  # type: ignore[union-attr]
    assert set(certain) == {int(probs.argmax())}
    assert len(set(sampled)) > 1


# SB3's own calls


def test_an_algorithm_without_memory_is_warned_of() -> None:
    """Otherwise SB3's A2C trains a plastic policy whose traces never matter, and nobody says so."""
    model = A2C(PlasticPolicy, "CartPole-v1", device="cpu")
    with pytest.warns(UserWarning, match="learns no memory: train it with RecurrentA2C"):
        model.learn(5)


@pytest.mark.filterwarnings("ignore:each observation is treated as the first")
def test_feed_forward_calls_agree_with_the_step(core: dict[str, Any]) -> None:
    """Otherwise tools for SB3's policies, which pass no state, get other results."""
    policy = make(**core)
    obs = torch.as_tensor(observations(VECTOR, 4))
    step = policy.step(obs, deterministic=True)
    actions, values, log_probs = policy(obs, deterministic=True)
    again, log_probs_again, entropy = policy.evaluate_actions(obs, actions)
    distribution = policy.get_distribution(obs)
    assert torch.equal(actions, step.actions)
    for other in (step.values, again, policy.predict_values(obs)):
        torch.testing.assert_close(values, other)
    for other in (step.log_probs, log_probs_again, distribution.log_prob(actions)):
        torch.testing.assert_close(log_probs, other)
    torch.testing.assert_close(entropy, distribution.entropy())


def test_evaluate_actions_of_a_rollout_is_the_rollout(core: dict[str, Any]) -> None:
    """Otherwise the loss has other probabilities than those of the actions taken."""
    policy = make(**core)
    n_steps, n_envs = 6, 3
    obs = torch.as_tensor(observations(VECTOR, n_steps * n_envs)).view(n_steps, n_envs, 3)
    starts = torch.zeros(n_steps, n_envs)
    starts[0], starts[3, 1], starts[4, 2] = 1, 1, 1
    state, steps = None, []
    for t in range(n_steps):
        steps.append(policy.step(obs[t], state, starts[t]))
        state = steps[-1].state
    actions = torch.cat([step.actions for step in steps])
    values, log_probs, _ = policy.evaluate_actions(obs.flatten(0, 1), actions, None, starts)
    torch.testing.assert_close(values, torch.cat([step.values for step in steps]))
    torch.testing.assert_close(log_probs, torch.cat([step.log_probs for step in steps]))


# Truncated backpropagation


class Rollout:
    """Nine steps of two environments for one policy, and the gradient of a loss over them."""

    n_steps, n_envs = 9, 2

    def __init__(self, policy: PlasticPolicy) -> None:
        self.policy = policy
        self.obs = torch.as_tensor(observations(VECTOR, self.n_steps * self.n_envs))
        self.actions = torch.arange(self.n_steps * self.n_envs) % 3
        self.starts = torch.zeros(self.n_steps, self.n_envs)
        self.starts[5, 1] = 1
        warm = policy.core.initial_state(self.n_envs)
        self.state = map_leaves(lambda leaf: torch.full_like(leaf, 0.2), warm)

    def gradient(self, values: Tensor, log_probs: Tensor) -> tuple[Tensor, Tensor]:
        loss = values.square().mean() - log_probs.mean()
        parameters = list(self.policy.parameters())
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        pairs = zip(parameters, gradients, strict=True)
        flat = [torch.zeros_like(p) if g is None else g for p, g in pairs]
        return loss.detach(), torch.cat([gradient.flatten() for gradient in flat])

    def truncated(self, length: int | None) -> tuple[Tensor, Tensor]:
        values, log_probs, _ = self.policy.evaluate_rollout(
            self.obs, self.actions, self.state, self.starts, length
        )
        return self.gradient(values, log_probs)

    def by_hand(self, length: int) -> tuple[Tensor, Tensor]:
        """Run step by step, and detach the state before every ``length``-th step."""
        state, outputs = self.state, []
        features = self.policy.extract_features(self.obs).view(self.n_steps, self.n_envs, -1)
        for t in range(self.n_steps):
            if t % length == 0:
                state = detach(state)
            window = slice(t, t + 1)
            output, state = sequence(
                self.policy.core, features[window], state, self.starts[window], backend="eager"
            )
            outputs.append(output[0])
        latent = torch.cat(outputs)
        logits = self.policy.action_net(latent).log_softmax(dim=1)
        chosen = logits.gather(1, self.actions[:, None]).squeeze(1)
        return self.gradient(self.policy.value_net(latent), chosen)


@pytest.mark.parametrize("length", [1, 2, 4, 8])
@pytest.mark.parametrize("name", RECURRENT)
def test_bptt_length_cuts_the_gradient_and_not_the_value(name: str, length: int) -> None:
    """Otherwise ``bptt_length`` has no effect, cuts elsewhere, or changes the loss."""
    rollout = Rollout(make(core=name, core_kwargs={"hidden_size": 4}, net_arch=[]))
    loss, gradient = rollout.truncated(length)
    hand_loss, hand_gradient = rollout.by_hand(length)
    whole_loss, whole_gradient = rollout.truncated(None)
    # Single precision is relative: the gradients of this cell are far above 1.
    scale = gradient.abs().max().item() if name == "inner_gradient" else 1.0
    torch.testing.assert_close(gradient, hand_gradient, rtol=1.3e-6, atol=1e-5 * scale)
    torch.testing.assert_close(loss, hand_loss)
    torch.testing.assert_close(loss, whole_loss)
    assert not torch.allclose(gradient, whole_gradient, atol=1e-5)


@pytest.mark.parametrize("name", CORES)
def test_bptt_over_all_steps_is_no_truncation(name: str) -> None:
    """Otherwise ``None`` is not the whole rollout."""
    rollout = Rollout(make(core=name))
    for left, right in zip(rollout.truncated(9), rollout.truncated(None), strict=True):
        assert torch.equal(left, right)


# Simpson's concentration, by hand


def test_simpson_of_one_choice() -> None:
    """Otherwise the papers' penalty has another value."""
    probs = torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    distribution = CategoricalDistribution(3).proba_distribution(probs.log().clamp(min=-1e9))
    torch.testing.assert_close(simpson_concentration(distribution), torch.tensor([0.375, 1, 1 / 3]))


def test_simpson_of_several_choices_adds_up() -> None:
    """Otherwise a second action dimension is not penalized."""
    logits = torch.tensor([[0.5, 0.5, 0.7, 0.2, 0.1], [0.9, 0.1, 0.25, 0.25, 0.5]]).log()
    distribution = MultiCategoricalDistribution([2, 3]).proba_distribution(logits)
    expected = torch.tensor([0.5 + 0.54, 0.82 + 0.375])
    torch.testing.assert_close(simpson_concentration(distribution), expected)


def test_simpson_of_bits_counts_both_outcomes() -> None:
    """Otherwise a bit that is certainly 0 counts as uncertain."""
    logits = torch.tensor([[0.5, 0.2], [0.9, 0.5]]).logit()
    distribution = BernoulliDistribution(2).proba_distribution(logits)
    expected = torch.tensor([0.5 + 0.68, 0.82 + 0.5])
    torch.testing.assert_close(simpson_concentration(distribution), expected)


def test_simpson_of_a_box_is_an_error() -> None:
    """Otherwise a density is used as a probability."""
    gaussian = DiagGaussianDistribution(2).proba_distribution(torch.zeros(1, 2), torch.zeros(2))
    with pytest.raises(ValueError, match="simpson"):
        simpson_concentration(gaussian)


@pytest.mark.parametrize("name", ["MlpPolicy", "PlasticPoliccy"])
def test_an_unknown_policy_is_refused_with_a_list_of_policies(name: str) -> None:
    """Otherwise SB3's error would not say which policies there are."""
    with pytest.raises(ValueError, match=f"no policy '{name}' with.* use PlasticPolicy, CnnPla"):
        RecurrentA2C(name, "CartPole-v1")
