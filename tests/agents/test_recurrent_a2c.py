"""The algorithm: the rollouts, the loss, and the state that is carried over."""

import pickle
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from numba.core.event import trigger_event
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from torch import Tensor

from plasticrl.agents import CnnPlasticPolicy, PlasticPolicy, RecurrentA2C
from plasticrl.agents.acting import Actor
from plasticrl.core.backends.cpu import NumbaKernels
from plasticrl.core.state import leaves, map_leaves
from plasticrl.runs import UsageError
from plasticrl.runs.compiling import COMPILING

POLICY = {"Dict": "MultiInputPlasticPolicy", "image": "CnnPlasticPolicy"}
SMALL = {"core_kwargs": {"hidden_size": 7}}


PLAIN = {
    "normalize_advantage": False,
    "normalize_returns": False,
    "ent_coef": 0.0,
    "vf_coef": 0.05,
    "max_grad_norm": 4.0,
}
"""A loss whose parts can be told apart, whatever the defaults are."""


def make(env: Any, policy: str = "PlasticPolicy", **options: Any) -> RecurrentA2C:
    """A small model with weights large enough that its state makes a difference."""
    given = {"n_steps": 8, "seed": 3, "device": "cpu", "policy_kwargs": SMALL, **PLAIN, **options}
    model = RecurrentA2C(policy, env, **given)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.policy.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=generator)
    return model


def weights(model: RecurrentA2C) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def same_weights(left: RecurrentA2C, right: RecurrentA2C) -> bool:
    ours, theirs = weights(left), weights(right)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def collect(model: RecurrentA2C, updates: int = 1) -> RecurrentA2C:
    """Learn for some updates; the buffer then has the last rollout."""
    return model.learn(updates * model.n_steps * model.n_envs, log_interval=1)


class Recorder(KVWriter):
    """Stores what is logged: name -> values."""

    def __init__(self) -> None:
        self.values: dict[str, list[Any]] = {}

    def write(self, key_values: Any, key_excluded: Any, step: int = 0) -> None:
        for name, value in key_values.items():
            self.values.setdefault(name, []).append(value)

    def close(self) -> None:
        pass


def recorded(model: RecurrentA2C, updates: int = 1) -> dict[str, Any]:
    """Learn for some updates and return the last value of each logged name."""
    recorder = Recorder()
    model.set_logger(Logger(None, [recorder]))
    collect(model, updates)
    return {name: values[-1] for name, values in recorder.values.items()}


class Each(BaseCallback):
    """Calls a function with the locals of every step; its result says whether to continue."""

    def __init__(self, function: Callable[[dict[str, Any]], Any]) -> None:
        super().__init__()
        self.function = function

    def _on_step(self) -> bool:
        return self.function(self.locals) is not False


# Observations and actions


def test_images_are_normalised_once_and_seen_as_they_are(make_vec: Any) -> None:
    """Otherwise the rollout and the loss see different images."""
    model = make(make_vec(observation="image"), "CnnPlasticPolicy")
    assert isinstance(model.policy, CnnPlasticPolicy)
    _, log_probs = recomputed(model, updates=2)
    torch.testing.assert_close(log_probs[1][0], log_probs[1][1], atol=1e-3, rtol=1e-3)


def test_the_environment_gets_clipped_actions_and_the_buffer_raw_ones(make_vec: Any) -> None:
    """Otherwise an action is out of bounds, or has the log-probability of another one."""
    env = make_vec(n_envs=2, action="Box")
    model = collect(make(env))
    taken = np.stack(env.get_attr("actions"), axis=1)
    raw = model.rollout_buffer.actions.reshape(taken.shape)
    space = env.action_space
    np.testing.assert_array_equal(taken, np.clip(raw, space.low, space.high))
    assert (taken != raw).any()


# The rollout is run again in the loss


def recomputed(
    model: RecurrentA2C, updates: int = 5
) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    """Values and log-probabilities of every update, as (from the rollout, recomputed)."""
    values, log_probs = [], []
    evaluate, buffer = model.policy.evaluate_rollout, model.rollout_buffer

    def spy(*args: Any) -> Any:
        *rollout, _stepper = args
        again = evaluate(*rollout)
        values.append((torch.tensor(buffer.values).flatten(), again[0].detach().flatten()))
        log_probs.append((torch.tensor(buffer.log_probs).flatten(), again[1].detach()))
        return evaluate(*args)

    model.policy.evaluate_rollout = spy  # type: ignore[method-assign]
    collect(model, updates)
    assert len(values) == updates
    return values, log_probs


def test_the_loss_has_the_probabilities_of_the_rollout(core: dict[str, Any], make_vec: Any) -> None:
    """Otherwise the gradient is that of another policy: state, resets or order are wrong."""
    # Entropy keeps the policy from becoming deterministic, which would hide differences.
    # With its normalized layers, fast_weights gets to the uniform policy at once if it can.
    rate = 0.002 if core.get("core") == "fast_weights" else 0.01
    model = make(make_vec(), policy_kwargs=core, learning_rate=rate, ent_coef=1.0)
    for pairs in recomputed(model):
        for collected, again in pairs:
            torch.testing.assert_close(again, collected, atol=1e-5, rtol=1e-4)
        assert all(collected.std() > 1e-3 for collected, _ in pairs)


@pytest.mark.parametrize("observation", ["Box", "Discrete", "MultiDiscrete", "Dict"])
def test_the_loss_has_those_probabilities_on_other_spaces(
    observation: str, action: str, make_vec: Any
) -> None:
    """Otherwise a shape is wrong between the environment, the buffer and the loss."""
    env = make_vec(observation=observation, action=action, truncates=True)
    model = make(env, POLICY.get(observation, "PlasticPolicy"), bptt_length=3)
    for pairs in recomputed(model, updates=3):
        for collected, again in pairs:
            torch.testing.assert_close(again, collected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("core", ["rnn", "gru", "lstm", "plastic_rnn", "plastic_lstm"])
def test_the_state_at_the_rollouts_start_matters(core: str, make_vec: Any) -> None:
    """Otherwise the tests above also pass with a state that is ignored."""
    model = make(make_vec(lengths=(50, 50)), policy_kwargs={"core": core, **SMALL})
    evaluate = model.policy.evaluate_rollout
    differs = []

    def spy(obs: Any, actions: Any, state: Any, *rest: Any) -> Any:
        blank = map_leaves(torch.zeros_like, state)
        again = rest[:2]  # without the stepper, which has stored its initial state
        ours, fresh = evaluate(obs, actions, state, *again), evaluate(obs, actions, blank, *again)
        differs.append(not torch.allclose(ours[1], fresh[1], atol=1e-4))
        return ours

    model.policy.evaluate_rollout = spy  # type: ignore[method-assign]
    collect(model, updates=3)
    assert differs == [False, True, True]


@pytest.mark.parametrize("bptt_length", [None, 8, 3])
def test_recorded_steps_are_not_computed_again(bptt_length: int | None, make_vec: Any) -> None:
    """Otherwise a quarter of an update is wasted, or a gradient is not cut."""
    core = {"core": "plastic_rnn", **SMALL}
    model = make(make_vec(), policy_kwargs=core, n_steps=8, bptt_length=bptt_length)
    run, lengths = NumbaKernels().forward, []

    def forward(net: Any, inputs: Any, state: Any, segment_length: int) -> Any:
        lengths.append(len(inputs.projected))
        return run(net, inputs, state, segment_length)

    with patch.object(NumbaKernels, "forward", side_effect=forward):
        collect(model, updates=2)
    assert lengths == ([3, 3, 2] if bptt_length == 3 else []) * 2


def test_a_model_that_has_learned_can_be_pickled() -> None:
    """Otherwise the record of steps prevents sending the model to another process."""
    model = collect(make("CartPole-v1"))
    again = pickle.loads(pickle.dumps(model))
    assert same_weights(again, model)


def test_the_update_uses_weights_that_a_callback_has_changed(make_vec: Any) -> None:
    """Otherwise the gradient is that of the old weights."""

    class Disturb(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_end(self) -> None:
            for parameter in self.model.policy.core.parameters():
                parameter.data.mul_(1.1)

    models = []
    for replays in (True, False):
        model = make(make_vec(), policy_kwargs={"core": "plastic_rnn", **SMALL})
        if not replays:
            evaluate = model.policy.evaluate_rollout
            model.policy.evaluate_rollout = lambda *args, run=evaluate: run(*args[:-1])  # type: ignore[method-assign]
        model.learn(3 * model.n_steps * model.n_envs, callback=Disturb())
        models.append(model)
    assert same_weights(*models)


# Returns and advantages


def steps_of(model: RecurrentA2C, updates: int = 1) -> dict[str, np.ndarray]:
    """Rewards and dones (T, B) that the environments returned in the last rollout."""
    rewards: list[np.ndarray] = []
    dones: list[np.ndarray] = []

    def keep(step: dict[str, Any]) -> None:
        rewards.append(step["rewards"].copy())
        dones.append(step["dones"].copy())

    model.learn(updates * model.n_steps * model.n_envs, callback=Each(keep), log_interval=1)
    n = model.n_steps
    return {"rewards": np.stack(rewards[-n:]), "dones": np.stack(dones[-n:])}


def gae(
    rewards: np.ndarray,
    dones: np.ndarray,
    values: np.ndarray,
    last: np.ndarray,
    g: float,
    lam: float,
) -> np.ndarray:
    """Generalized advantages (T, B), computed from the definition, element by element."""
    n_steps, n_envs = rewards.shape
    advantages = np.zeros((n_steps, n_envs))
    for b in range(n_envs):
        for t in range(n_steps):
            weight = 1.0
            for k in range(t, n_steps):
                following = last[b] if k == n_steps - 1 else values[k + 1, b]
                delta = rewards[k, b] + g * following * (1 - dones[k, b]) - values[k, b]
                advantages[t, b] += weight * delta
                weight *= g * lam
                if dones[k, b]:
                    break
    return advantages


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def concentration(entropy: str, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The concentration (N,) and its derivative with respect to the logits (N, A)."""
    if entropy == "simpson":
        value = (probs**2).sum(axis=1)
        return value, 2 * probs * (probs - value[:, None])
    value = (probs * np.log(probs)).sum(axis=1)
    return value, probs * (np.log(probs) - value[:, None])


@pytest.mark.parametrize("entropy", ["shannon", "simpson"])
@pytest.mark.parametrize("gae_lambda", [1.0, 0.7])
@pytest.mark.parametrize("normalize", [False, True])
def test_the_loss_worked_by_hand(
    entropy: str, gae_lambda: float, normalize: bool, make_vec: Any
) -> None:
    """Otherwise the loss has a wrong baseline, discount, sign, mean or weight."""
    model = make(
        make_vec(),
        gamma=0.8,
        gae_lambda=gae_lambda,
        ent_coef=0.3,
        vf_coef=0.7,
        entropy=entropy,
        normalize_advantage=normalize,
        max_grad_norm=1e9,
        learning_rate=0.0,
    )
    heads: list[np.ndarray] = []
    evaluate, value_of = model.policy.evaluate_rollout, model.policy.predict_values

    def evaluate_spy(*args: Any) -> Any:
        result = evaluate(*args)
        heads.append(result[2].distribution.logits.detach().numpy().astype(np.float64))
        return result

    def value_spy(*args: Any) -> Any:
        heads.append(value_of(*args).numpy().flatten())
        return value_of(*args)

    model.policy.evaluate_rollout = evaluate_spy  # type: ignore[method-assign]
    model.policy.predict_values = value_spy  # type: ignore[method-assign]
    given = steps_of(model, updates=2)
    last, logits = heads[-2:]
    values = model.rollout_buffer.values
    assert values.std(axis=1).min() > 0.01  # each element has its own baseline
    assert given["dones"].any()

    advantages = gae(given["rewards"], given["dones"], values, last, 0.8, gae_lambda)
    returns = (advantages + values).flatten()
    weight = advantages.flatten()
    if normalize:
        weight = (weight - weight.mean()) / (weight.std(ddof=1) + 1e-8)
    probs = softmax(logits)
    chosen = np.eye(3)[model.rollout_buffer.actions.astype(int).flatten()]
    spread, spread_gradient = concentration(entropy, probs)
    policy_loss = -(weight * np.log((probs * chosen).sum(axis=1))).mean()
    logged = model.logger.name_to_value
    assert logged["train/policy_loss"] == pytest.approx(policy_loss, rel=1e-4)
    assert logged["train/value_loss"] == pytest.approx(
        ((returns - values.flatten()) ** 2).mean(), rel=1e-4
    )
    assert logged["train/entropy_loss"] == pytest.approx(spread.mean(), rel=1e-4)

    by_logits = -weight[:, None] * (chosen - probs) + 0.3 * spread_gradient
    gradient = model.policy.action_net.bias.grad
    np.testing.assert_allclose(gradient, by_logits.mean(axis=0), rtol=1e-3, atol=1e-5)
    by_value = 0.7 * 2 * (values.flatten() - returns).mean()
    np.testing.assert_allclose(model.policy.value_net.bias.grad, [by_value], rtol=1e-3, atol=1e-5)


def constant_value(model: RecurrentA2C, value: float) -> RecurrentA2C:
    torch.nn.init.zeros_(model.policy.value_net.weight)
    torch.nn.init.constant_(model.policy.value_net.bias, value)
    return model


def test_advantages_of_a_constant_value_function(make_vec: Any) -> None:
    """Otherwise an advantage passes an episode's end, or stops before the rollout's."""
    gamma, lam, value, length = 0.9, 0.7, 2.0, 5
    model = make(make_vec(lengths=(length,)), n_steps=8, gamma=gamma, gae_lambda=lam)
    constant_value(model, value)
    given = steps_of(model)
    inner = given["rewards"][:, 0] + gamma * value - value
    inner[length - 1] -= gamma * value
    decay = (gamma * lam) ** np.arange(8)
    first = [(inner[t:length] * decay[: length - t]).sum() for t in range(length)]
    second = [(inner[t:] * decay[: 8 - t]).sum() for t in range(length, 8)]
    np.testing.assert_allclose(
        model.rollout_buffer.advantages[:, 0], [*first, *second], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        model.rollout_buffer.returns, model.rollout_buffer.advantages + value, rtol=1e-4, atol=1e-5
    )


def test_the_last_value_is_that_of_the_next_rollouts_start(make_vec: Any) -> None:
    """Otherwise the last value lacks the state, or uses that of an ended episode."""
    model = make(make_vec(lengths=(8, 50)), learning_rate=0.0)
    last: list[np.ndarray] = []
    value_of = model.policy.predict_values

    def spy(*args: Any) -> Tensor:
        values = value_of(*args)
        last.append(values.numpy().flatten())
        return values

    model.policy.predict_values = spy  # type: ignore[method-assign]
    collect(model, updates=2)
    assert model.rollout_buffer.episode_starts[0].tolist() == [1, 0]
    np.testing.assert_allclose(model.rollout_buffer.values[0], last[0], rtol=1e-5)


# Time limits


def value_after(model: RecurrentA2C, obs: list[Any], terminal: Any, steps: int) -> float:
    """The value of the last observation, with the state after ``steps`` steps of the episode."""
    state = None
    with torch.no_grad():
        for t in range(steps):
            state = model.policy.step(torch.as_tensor(obs[t])[None], state).state
        return float(model.policy.predict_values(torch.as_tensor(terminal)[None], state))


@pytest.mark.parametrize("core", ["rnn", "lstm", "plastic_rnn"])
def test_the_time_limits_value_is_that_of_the_state_after_the_last_step(
    core: str, make_vec: Any
) -> None:
    """Otherwise the value after a time limit has a state without the last step, or none."""
    env = make_vec(lengths=(5, 99), truncates=True)
    model = make(
        env, n_steps=5, gamma=0.9, policy_kwargs={"core": core, **SMALL}, learning_rate=0.0
    )
    terminal: list[Any] = []
    given = []

    def keep(step: dict[str, Any]) -> None:
        given.append(step["rewards"].copy())
        if step["dones"][0]:
            terminal.append(step["infos"][0]["terminal_observation"])

    model.learn(10, callback=Each(keep))
    assert len(terminal) == 1
    obs = model.rollout_buffer.observations[:, 0]
    extra = model.rollout_buffer.rewards - np.stack(given)
    assert (extra[:4] == 0).all()
    assert extra[4, 1] == 0
    assert extra[4, 0] == pytest.approx(0.9 * value_after(model, obs, terminal[0], 5), rel=1e-4)
    for wrong in (0, 4):
        assert abs(extra[4, 0] - 0.9 * value_after(model, obs, terminal[0], wrong)) > 1e-3


@pytest.mark.parametrize(
    ("truncates", "bootstrap", "expected"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
@pytest.mark.parametrize("observation", ["Box", "Discrete", "Dict"])
def test_only_a_time_limit_is_bootstrapped(
    observation: str, truncates: bool, bootstrap: bool, expected: bool, make_vec: Any
) -> None:
    """Otherwise a terminal state is bootstrapped, or ``bootstrap_truncated`` has no effect."""
    env = make_vec(observation=observation, truncates=truncates)
    policy = POLICY.get(observation, "PlasticPolicy")
    model = constant_value(make(env, policy, bootstrap_truncated=bootstrap, gamma=0.5), 4.0)
    given = steps_of(model)
    extra = model.rollout_buffer.rewards - given["rewards"]
    np.testing.assert_allclose(extra, 0.5 * 4.0 * given["dones"] * expected, atol=1e-6)
    assert given["dones"].any()


# What carries over


def test_the_same_seed_gives_the_same_weights(core: dict[str, Any], make_vec: Any) -> None:
    """Otherwise a result cannot be repeated."""
    run = [
        collect(RecurrentA2C("PlasticPolicy", make_vec(), n_steps=5, seed=s, policy_kwargs=core), 3)
        for s in (1, 1, 2)
    ]
    assert same_weights(run[0], run[1])
    assert not same_weights(run[0], run[2])


def test_two_short_calls_of_learn_are_one_long_call(core: dict[str, Any], make_vec: Any) -> None:
    """Otherwise a state, an observation or an episode start is lost between calls."""
    n = 3 * 8 * 2
    one = make(make_vec(lengths=(7, 30)), policy_kwargs=core).learn(2 * n)
    two = make(make_vec(lengths=(7, 30)), policy_kwargs=core).learn(n)
    assert not same_weights(one, two)
    assert same_weights(one, two.learn(n, reset_num_timesteps=False))


def test_set_env_without_a_reset_goes_on(make_vec: Any) -> None:
    """Otherwise ``force_reset=False`` keeps the observation but loses the state."""
    one = collect(make(make_vec(lengths=(7, 30))), updates=4)
    two = collect(make(make_vec(lengths=(7, 30))), updates=2)
    env = two.get_env()
    assert env is not None
    two.set_env(env, force_reset=False)
    assert same_weights(one, two.learn(2 * 8 * 2, reset_num_timesteps=False))


def test_a_new_learn_starts_new_episodes(make_vec: Any) -> None:
    """Otherwise the last episode's state leaks into the next call of ``learn``."""
    model = collect(make(make_vec(lengths=(50, 50))))
    collect(model)
    assert model.rollout_buffer.episode_starts[0].all()
    assert any(leaf.abs().max() > 0 for leaf in leaves(model._start_state))
    values, log_probs = recomputed(model, updates=1)
    for collected, again in values + log_probs:
        torch.testing.assert_close(again, collected, atol=1e-5, rtol=1e-4)


def test_a_run_that_a_callback_stopped_goes_on_with_its_own_state(
    make_vec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the observation and the state are from different steps."""
    model, whole = make(make_vec(lengths=(50, 50))), make(make_vec(lengths=(50, 50)))
    whole.policy.load_state_dict(model.policy.state_dict())
    seen: list[list[Tensor]] = []

    class Watched(Actor):
        def __init__(self, policy: Any, state: Any, *options: int) -> None:
            super().__init__(policy, state, *options)
            self.state = state

        def __call__(self, obs: Any, *rest: Any) -> Any:
            seen.append([obs.clone(), *(leaf.clone() for leaf in leaves(self.state))])
            starts, _, *masks = rest
            return super().__call__(obs, starts, True, *masks)

    monkeypatch.setattr("plasticrl.agents.rollout.Actor", Watched)
    model.learn(1000, callback=Each(lambda _: len(seen) < 3))
    model.learn(1, callback=Each(lambda _: False), reset_num_timesteps=False)
    whole.learn(1000, callback=Each(lambda _: len(seen) < 8))
    assert len(seen) == 8
    assert all(map(torch.equal, seen[3], seen[7]))  # the fourth step, after a stop and without


def test_the_learning_rate_follows_its_schedule(make_vec: Any) -> None:
    """Otherwise a schedule has no effect."""
    model = make(make_vec(), learning_rate=lambda remaining: 0.5 * remaining)
    collect(model, updates=4)
    assert model.policy.optimizer.param_groups[0]["lr"] == pytest.approx(0.0)
    assert model.logger.name_to_value["train/learning_rate"] == pytest.approx(0.0)


def test_the_weight_of_the_entropy_follows_its_schedule(make_vec: Any) -> None:
    """Otherwise a schedule has no effect."""
    model = make(make_vec(), learning_rate=0.0, ent_coef=lambda remaining: 0.5 * remaining)
    collect(model, updates=2)
    losses = {name: torch.tensor(value) for name, value in {"policy": 1.0, "value": 0.0}.items()}
    model._current_progress_remaining = 0.5
    assert model._total(losses | {"entropy": torch.tensor(4.0)}).item() == 1 + 0.25 * 4
    model._current_progress_remaining = -1.0
    with pytest.raises(UsageError, match="ent_coef must be a finite number of at least 0"):
        model.train()
    model.ent_coef = lambda remaining: "small"
    with pytest.raises(UsageError, match=r"ent_coef must be .* not 'small'"):
        model.train()


def test_the_gradient_is_clipped_at_its_norm(make_vec: Any) -> None:
    """Otherwise ``max_grad_norm`` has no effect, or the clipped norm is logged."""
    model = collect(make(make_vec(), max_grad_norm=1e-3))
    gradients = [p.grad.norm() for p in model.policy.parameters() if p.grad is not None]
    assert torch.stack(gradients).norm() == pytest.approx(1e-3, rel=1e-3)
    assert model.logger.name_to_value["train/grad_norm"] > 1e-2


@pytest.mark.parametrize("max_grad_norm", [0.5, float("inf")])
def test_a_gradient_that_is_not_finite_stops_and_changes_nothing(
    max_grad_norm: float, make_vec: Any
) -> None:
    """Otherwise one NaN destroys the weights of a long run."""
    model = collect(make(make_vec(), max_grad_norm=max_grad_norm), updates=2)
    before = weights(model)
    model.rollout_buffer.returns[3, 1] = np.nan
    with pytest.raises(FloatingPointError, match=r"^the value loss is nan: lower the"):
        model.train()
    after = weights(model)
    assert all(torch.equal(before[name], after[name]) for name in after)


# The log

SB3_NAMES = {
    "rollout/ep_len_mean",
    "rollout/ep_rew_mean",
    "time/fps",
    "time/iterations",
    "time/time_elapsed",
    "time/total_timesteps",
    "train/entropy_loss",
    "train/explained_variance",
    "train/learning_rate",
    "train/n_updates",
    "train/policy_loss",
    "train/value_loss",
}
PLASTIC = {"alpha_abs_mean", "trace_abs_mean"}
MODULATION = {"modulation_mean", "modulation_std"}
LOGGED: list[tuple[str, dict[str, Any], set[str]]] = [
    ("rnn", {}, set()),
    ("lstm", {}, set()),
    ("plastic_rnn", {}, PLASTIC | {"trace_saturation", "eta"}),
    ("plastic_rnn", {"bound": "decay"}, PLASTIC | {"eta"}),
    ("plastic_rnn", {"rule": "oja", "bound": "none"}, PLASTIC | {"eta"}),
    ("plastic_rnn", {"modulation": "simple"}, PLASTIC | {"trace_saturation"} | MODULATION),
    (
        "plastic_lstm",
        {"modulation": "retroactive", "fan_out": True, "bound": "soft"},
        PLASTIC | {"trace_saturation", "eta"} | MODULATION,
    ),
]


@pytest.mark.parametrize(("core", "options", "plastic"), LOGGED)
@pytest.mark.parametrize("action", ["Discrete", "Box"])
def test_the_names_in_the_log(
    core: str, options: dict[str, Any], plastic: set[str], action: str, make_vec: Any
) -> None:
    """Otherwise TensorBoard lacks a curve, or shows one without a meaning."""
    core_kwargs = {"hidden_size": 7, **options}
    env = make_vec(action=action)
    model = make(env, policy_kwargs={"core": core, "core_kwargs": core_kwargs}, learning_rate=1e-3)
    recorder = Recorder()
    model.set_logger(Logger(None, [recorder]))
    collect(model, updates=3)
    expected = SB3_NAMES | {"train/grad_norm"} | {f"plastic/{name}" for name in plastic}
    assert set(recorder.values) == expected | ({"train/std"} if action == "Box" else set())
    numbers = [values[-1] for values in recorder.values.values()]
    assert np.isfinite(numbers).all()


def test_the_numbers_in_the_log(make_vec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a curve shows another quantity."""
    core_kwargs = {"hidden_size": 7, "modulation": "simple", "clip": 0.05}
    model = make(make_vec(), policy_kwargs={"core_kwargs": core_kwargs}, learning_rate=0.0)
    signals: list[Tensor] = []

    class Listening(Actor):
        def __call__(self, *args: Any) -> Any:
            actions, latent = super().__call__(*args)
            signals.append(model.policy.core.connection.modulator(latent))  # type: ignore[union-attr]
            return actions, latent

    monkeypatch.setattr("plasticrl.agents.rollout.Actor", Listening)
    logged = recorded(model)
    modulation = torch.stack(signals).detach().numpy()
    trace = model._last_state.trace.abs()
    alpha = model.policy.core.connection.alpha.detach().abs()  # type: ignore[union-attr]
    assert logged["plastic/modulation_mean"] == pytest.approx(modulation.mean(), rel=1e-4)
    assert logged["plastic/modulation_std"] == pytest.approx(modulation.std(), rel=1e-4)
    assert logged["plastic/alpha_abs_mean"] == pytest.approx(float(alpha.mean()))
    assert logged["plastic/trace_abs_mean"] == pytest.approx(float(trace.mean()))
    saturation = float((trace == 0.05).float().mean())
    assert logged["plastic/trace_saturation"] == pytest.approx(saturation, abs=1e-6)
    assert 0 < saturation < 1


def test_one_step_of_one_environment_can_be_logged(make_vec: Any) -> None:
    """Otherwise the standard deviation of a single modulation is NaN, with a warning."""
    model = make(
        make_vec(lengths=(3,)),
        n_steps=1,
        policy_kwargs={"core_kwargs": {"fan_out": False, "hidden_size": 4}},
    )
    assert recorded(model, updates=2)["plastic/modulation_std"] == 0


# Arguments


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"policy_kwargs": {"core": "transformer"}}, "transformer"),
        ({"policy_kwargs": {"core": "gru", "core_kwargs": {"clip": 1.0}}}, "clip"),
        ({"policy_kwargs": {"core_kwargs": {"bound": "decay", "clip": 2.0}}}, "clip"),
        ({"bptt_length": 0}, "bptt_length"),
        ({"bptt_length": -1}, "bptt_length"),
        ({"bptt_length": 9}, "bptt_length"),
        ({"entropy": "renyi"}, "renyi"),
        ({"n_steps": 0}, "n_steps"),
        ({"gamma": -0.1}, "gamma"),
        ({"gamma": 1.01}, "gamma"),
        ({"gamma": float("nan")}, "gamma"),
        ({"gae_lambda": 2.0}, "gae_lambda"),
        ({"gae_lambda": float("nan")}, "gae_lambda"),
        ({"policy": "MlpPolicy"}, "MlpPolicy"),
        ({"max_grad_norm": -1.0}, "max_grad_norm"),
        ({"max_grad_norm": float("nan")}, "max_grad_norm"),
        ({"vf_coef": float("nan")}, "vf_coef"),
        ({"ent_coef": -0.1}, "ent_coef"),
        ({"bptt_length": 2.5}, "bptt_length"),
        ({"n_steps": 2.5}, "n_steps"),
        ({"n_steps": True}, "n_steps"),
        ({"gamma": "high"}, "gamma must be from 0 to 1, not 'high'"),
        ({"gamma": lambda _: 0.9}, "gamma must be from 0 to 1, not <function"),
        ({"bootstrap_truncated": lambda _: True}, "bootstrap_truncated must be True or False"),
        ({"normalize_advantage": "no"}, "normalize_advantage must be True or False, not 'no'"),
        ({"policy_kwargs": {"share_features_extractor": "no"}}, "share_features_extractor must be"),
        ({"ent_coef": None}, "ent_coef must be a finite number of at least 0, not None"),
    ],
)
def test_a_bad_argument_is_named(options: dict[str, Any], words: str, make_vec: Any) -> None:
    """Otherwise a training with a mistake runs for hours."""
    with pytest.raises(ValueError, match=words):
        make(make_vec(), **options)


def test_a_policy_class_without_a_core_is_an_error(make_vec: Any) -> None:
    """Otherwise the first rollout fails with an obscure error."""
    from stable_baselines3.common.policies import ActorCriticPolicy

    with pytest.raises(ValueError, match="ActorCriticPolicy"):
        make(make_vec(), policy=ActorCriticPolicy)  # type: ignore[arg-type]
    assert issubclass(PlasticPolicy, ActorCriticPolicy)


def test_simpson_with_continuous_actions_is_an_error(make_vec: Any) -> None:
    """Otherwise training fails after the first rollout instead of before it."""
    with pytest.raises(ValueError, match="simpson"):
        make(make_vec(action="Box"), entropy="simpson")


@pytest.mark.parametrize("action", ["Discrete", "MultiDiscrete", "MultiBinary"])
def test_simpson_with_every_discrete_action(action: str, make_vec: Any) -> None:
    """Otherwise the papers' penalty works with one kind of action only."""
    collect(make(make_vec(action=action), entropy="simpson", ent_coef=0.1), updates=2)


def test_bptt_length_reaches_the_loss(make_vec: Any) -> None:
    """Otherwise the option is ignored."""
    run = [collect(make(make_vec(), bptt_length=k), updates=2) for k in (None, 8, 2)]
    assert same_weights(run[0], run[1])
    assert not same_weights(run[0], run[2])


class Compiling(BaseCallback):
    """A callback that acts as if loops were compiled in every step."""

    def _on_step(self) -> bool:
        with trigger_event("numba:compile"):
            return True


@pytest.mark.parametrize("verbose", [0, 1])
def test_verbose_reports_compilation(verbose: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the first call of ``learn`` shows nothing for most of a minute."""
    model = RecurrentA2C("PlasticPolicy", "CartPole-v1", n_steps=4, verbose=verbose)
    model.learn(8, Compiling())
    assert capsys.readouterr().out.count(COMPILING) == verbose
