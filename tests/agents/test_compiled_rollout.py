"""A compiled rollout equals one that takes its steps one by one.

The two have the same random numbers, environments and heads. They add up the inputs of a neuron in
another order, so activities differ by rounding: by at most 1e-4 relative or 1e-5 absolute.
"""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    ConvertCallback,
    EvalCallback,
)
from stable_baselines3.common.vec_env import VecNormalize
from tests.agents.test_rollout import ENVS, N_ENVS, N_STEPS, Episodes

from plasticrl.agents import RecurrentA2C, make_vec_env
from plasticrl.agents.closed_loop import CODE, compiled_loop
from plasticrl.agents.rollout import CompiledRollout, HostRollout, acts_in_rollouts
from plasticrl.core import sequence, stepper

SIMPLE = {"modulation": "simple", "fan_out": True}
CASES: list[tuple[int, dict[str, Any], dict[str, Any]]] = [
    (0, SIMPLE, {"net_arch": []}),
    (1, SIMPLE, {"net_arch": [5, 4]}),
    (2, SIMPLE, {"net_arch": [5], "activation_fn": torch.nn.ReLU}),
    (0, {"modulation": "retroactive", "bound": "soft"}, {"net_arch": []}),
    (0, {"rule": "oja", "input_mode": "additive", "hidden_size": 17}, {"net_arch": [5]}),
    (0, {**SIMPLE, "modulator_input": "cell"}, {"core": "plastic_lstm", "net_arch": []}),
    (1, {"modulation": "retroactive"}, {"core": "plastic_lstm", "net_arch": [5]}),
    (3, SIMPLE, {"net_arch": []}),
    (4, SIMPLE, {"net_arch": []}),
]


def learner(case: int, **options: Any) -> RecurrentA2C:
    env, core_kwargs, policy_kwargs = CASES[case]
    env_id, env_kwargs = ENVS[env]
    defaults = {"n_steps": N_STEPS, "bootstrap_truncated": False, "seed": 3}
    return RecurrentA2C(
        "PlasticPolicy",
        make_vec_env(env_id, N_ENVS, 3, env_kwargs=env_kwargs),
        policy_kwargs={"core_kwargs": {"hidden_size": 6, **core_kwargs}, **policy_kwargs},
        **{**defaults, **options},
    )


def train_and_record(model: RecurrentA2C, steps: int, in_rollouts: bool) -> list[Any]:
    """Train, and return what a callback got at every step."""
    episodes = Episodes()
    episodes.acts_in_rollouts = in_rollouts
    kind = HostRollout if in_rollouts else CompiledRollout
    assert model._kind_of_rollout(model.env, episodes) is kind  # type: ignore[arg-type]
    model.learn(N_ENVS * steps, callback=episodes, reset_num_timesteps=False)
    return episodes.seen


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_it_gives_the_same_results_as_single_steps(
    case: int, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the trained agent depends on the callbacks."""
    monkeypatch.setattr("plasticrl.core.backends.cpu.GROUP_WORK", 10)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    models, seen = [], []
    try:
        for in_rollouts in (True, False):
            models.append(learner(case))  # sets the seed
            seen.append(train_and_record(models[-1], 3 * N_STEPS, in_rollouts))
    finally:
        torch.set_num_threads(before)
    assert len(seen[0]) == len(seen[1]) == 3 * N_STEPS
    for theirs, ours in zip(*seen, strict=True):
        np.testing.assert_equal(ours, theirs)
    assert any(dones.any() for _, _, dones, *_ in seen[0])
    single, compiled = models
    for name in ("observations", "actions", "rewards", "episode_starts"):
        a, b = (getattr(model.rollout_buffer, name) for model in models)
        np.testing.assert_array_equal(a, b)
    for name in ("values", "log_probs", "returns"):
        a, b = (getattr(model.rollout_buffer, name) for model in models)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for a, b in zip(single._modulating_activities, compiled._modulating_activities, strict=True):
        assert a is b is None or torch.allclose(a, b, rtol=1e-4, atol=1e-5)
    states = (single._last_state, compiled._last_state)
    for a, b in zip(*states, strict=True):
        assert a is b is None or torch.allclose(a, b, rtol=1e-4, atol=1e-5)
    for a, b in zip(compiled.policy.parameters(), single.policy.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    saved = [model.env.get_state() for model in models]  # type: ignore[union-attr]
    np.testing.assert_equal(*saved)


@pytest.mark.parametrize("case", [0, 3, 5])
def test_its_replay_equals_the_sequence_on_its_observations(case: int) -> None:
    """Otherwise the gradient is not that of the actions taken."""
    model = learner(case)
    policy, env = model.policy, model.env
    obs: Any = env.reset()  # type: ignore[union-attr]
    state, starts = policy.initial_state(N_ENVS), np.ones(N_ENVS, bool)
    steps = CompiledRollout(policy, env, state, obs, starts, N_STEPS, N_STEPS)  # type: ignore[arg-type]
    taken = list(steps)
    inputs = torch.from_numpy(np.stack([step.obs for step in taken]))
    first = torch.from_numpy(np.stack([step.episode_starts for step in taken]))
    assert steps.stepper is not None
    outputs, final = steps.stepper.replay()
    torch.testing.assert_close(outputs, steps.outputs)
    upstream = torch.randn_like(outputs)
    weights = list(policy.core.parameters())
    ours = torch.autograd.grad(outputs, weights, upstream)
    wanted, last = sequence(policy.core, inputs, None, first, backend="eager")
    torch.testing.assert_close(outputs, wanted, rtol=1e-4, atol=1e-5)
    theirs = torch.autograd.grad(wanted, weights, upstream)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    for leaf, end, carried in zip(final, last, state, strict=True):
        torch.testing.assert_close(leaf, end, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(leaf, carried)


def test_the_last_observation_is_that_of_the_environments() -> None:
    """Otherwise the environments are not in the state of the last observation."""
    model = learner(0)
    train_and_record(model, N_STEPS, in_rollouts=False)
    batch = model.env.batch  # type: ignore[union-attr]
    np.testing.assert_array_equal(model._last_obs, batch.observe(*batch.state))
    train_and_record(model, N_STEPS, in_rollouts=True)
    train_and_record(model, N_STEPS, in_rollouts=False)
    np.testing.assert_array_equal(model._last_obs, batch.observe(*batch.state))
    assert {info["l"] for info in model.ep_info_buffer or ()} == {11}


def test_what_is_compiled_and_what_is_not() -> None:
    """Otherwise a change that a user made is ignored."""
    model = learner(0)

    def kind(callback: Any = None) -> Any:
        return model._kind_of_rollout(model.env, callback)  # type: ignore[arg-type]

    class Acts(Episodes):
        acts_in_rollouts = True

    assert kind() is CompiledRollout
    assert kind(CallbackList([Episodes(), Acts()])) is HostRollout
    model.bootstrap_truncated = True
    assert kind() is HostRollout
    model.bootstrap_truncated = False
    model.policy.backend = "eager"
    assert kind() is HostRollout
    model.policy.backend = "auto"
    hook = model.policy.core.register_forward_hook(lambda *_: None)
    assert kind() is HostRollout
    hook.remove()
    hook = model.policy.action_net.register_forward_hook(lambda *_: None)
    assert kind() is HostRollout
    hook.remove()
    batch = model.env.batch  # type: ignore[union-attr]
    batch.advance = batch.advance
    assert kind() is HostRollout
    del batch.advance
    batch.action_masks = lambda: [True, False, False, False]
    assert kind() is HostRollout
    del batch.action_masks
    assert kind() is CompiledRollout
    assert not CompiledRollout.possible(model.policy, VecNormalize(model.env))  # type: ignore[arg-type]


def test_a_callback_says_that_it_acts_in_rollouts() -> None:
    """Otherwise a callback's change of the environments takes effect a rollout too late."""

    class Acts(BaseCallback):
        acts_in_rollouts = True

        def _on_step(self) -> bool:
            return True

    def function(_: Any, __: Any) -> bool:
        return True

    assert acts_in_rollouts(CallbackList([CallbackList([Acts()])]))
    env = make_vec_env("plasticrl/TMaze-v0", 1)
    assert acts_in_rollouts(EvalCallback(env, callback_on_new_best=Acts()))
    assert not acts_in_rollouts(EvalCallback(env, callback_on_new_best=Episodes()))
    assert not acts_in_rollouts(CallbackList([Episodes()]))
    assert not acts_in_rollouts(ConvertCallback(function))
    function.acts_in_rollouts = True  # type: ignore[attr-defined]
    assert acts_in_rollouts(ConvertCallback(function))


@pytest.mark.parametrize("case", [0, 1])
def test_a_net_that_has_diverged_raises_an_error(case: int) -> None:
    """Otherwise NaN is used as an action."""
    model = learner(case)
    with torch.no_grad():
        model.policy.core.connection.weight.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match=r"weights .* are not finite"):
        model.learn(N_ENVS * N_STEPS)


@pytest.mark.parametrize("raises", [False, True])
def test_a_callback_ends_it_between_rollouts(raises: bool) -> None:
    """Otherwise the next observation does not belong to the environments' state."""

    class End(BaseCallback):
        def _on_step(self) -> bool:
            if raises and self.n_calls == 4:
                raise RuntimeError("enough")
            return self.n_calls < 4

    model = learner(0)
    with pytest.raises(RuntimeError, match="enough") if raises else nullcontext():
        model.learn(10 * N_ENVS * N_STEPS, callback=End())
    assert model.num_timesteps == 4 * N_ENVS
    batch = model.env.batch  # type: ignore[union-attr]
    np.testing.assert_array_equal(model._last_obs, batch.observe(*batch.state))
    train_and_record(model, N_STEPS, in_rollouts=False)
    assert {info["l"] for info in model.ep_info_buffer or ()} == {11}


def test_options_change_between_rollouts() -> None:
    """Otherwise a curriculum has no effect."""
    model = learner(1)
    train_and_record(model, N_STEPS, in_rollouts=False)
    env: Any = model.env
    env.env_method("set_n_cues", 3)
    env.set_attr("reward_flip_probability", 1.0)
    train_and_record(model, N_STEPS, in_rollouts=False)
    assert (env.batch.state.world.n_cues == 3).all()
    rewards = [
        [rewards for _, rewards, *_ in train_and_record(model, N_STEPS, one)]
        for one in (True, False)
    ]
    assert all(set(np.unique(taken)) == {-1.0, 0.0, 1.0} for taken in rewards)


def test_a_stepper_takes_the_steps_it_is_to_record() -> None:
    """Otherwise a replay repeats other steps than those that were taken."""
    model = learner(0)
    policy, starts = model.policy, np.ones(N_ENVS, bool)
    obs: Any = model.env.reset()  # type: ignore[union-attr]

    def run(n_steps: int, n_recorded: int, obs: Any = obs) -> None:
        state = policy.initial_state(N_ENVS)
        list(CompiledRollout(policy, model.env, state, obs, starts, n_steps, n_recorded))  # type: ignore[arg-type]

    run(4, 4)
    run(4, 0)
    with pytest.raises(ValueError, match="all 3 steps that the stepper records"):
        run(4, 3)
    with pytest.raises(ValueError, match=r"inputs must be float32 of shape \(5, 5, 17\)"):
        run(4, 4, obs[:, :-1])
    used = stepper(policy.core, policy.initial_state(N_ENVS), n_steps=4)
    used(torch.from_numpy(obs))
    with pytest.raises(ValueError, match="has 4 steps, and 1 were recorded"):
        used.run_closed_loop(compiled_loop, dict, 4)
    eager = stepper(policy.core, policy.initial_state(N_ENVS), "eager")
    with pytest.raises(ValueError, match="only the fused backend"):
        eager.run_closed_loop(compiled_loop, dict, 4)


def test_the_key_of_the_cache_has_all_code_of_the_loop() -> None:
    """Otherwise Numba runs a loop that was compiled before a change."""
    names = {path.name for path in CODE}
    assert {"batch.py", "counter_random.py", "grid_maze.py", "cue_reward.py", "t_maze.py"} <= names
    assert {"transitive_inference.py", "harlow.py"} <= names
    assert {"masking.py", "sampling.py", "closed_loop.py"} <= names
