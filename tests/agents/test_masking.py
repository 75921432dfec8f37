"""Action masks: impossible actions are never taken, and the loss sees the masked probabilities."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from plasticrl.agents import RecurrentA2C, RecurrentPPO
from plasticrl.agents.masking import check_masks
from plasticrl.core.stock import is_untouched
from plasticrl.runs import UsageError

ACTIONS: dict[str, Any] = {
    "Discrete": spaces.Discrete(5),
    "MultiDiscrete": spaces.MultiDiscrete([3, 4]),
    "MultiBinary": spaces.MultiBinary(3),
}
N_MASKS = {"Discrete": 5, "MultiDiscrete": 7, "MultiBinary": 6}


class Masked(gym.Env[Any, Any]):
    """At each step, some random actions are possible; each part of an action has one at least."""

    def __init__(self, action: str) -> None:
        self.observation_space = spaces.Box(-1, 1, (3,))
        self.action_space = ACTIONS[action]
        self.kind = action
        self.taken: list[tuple[Any, np.ndarray]] = []

    def action_masks(self) -> np.ndarray:
        return self.masks

    def _draw(self) -> Any:
        parts = {"Discrete": [5], "MultiDiscrete": [3, 4], "MultiBinary": [2, 2, 2]}[self.kind]
        masks = []
        for n in parts:
            part = self.np_random.random(n) < 0.5
            part[self.np_random.integers(n)] = True
            masks.append(part)
        self.masks = np.concatenate(masks)
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self._draw(), {}

    def step(self, action: Any) -> Any:
        assert is_possible(self.kind, action, self.masks)
        self.taken.append((action, self.masks))
        self.t += 1
        return self._draw(), float(self.np_random.normal()), self.t == 9, False, {}


def is_possible(kind: str, action: Any, masks: np.ndarray) -> bool:
    if kind == "Discrete":
        return bool(masks[action])
    if kind == "MultiDiscrete":
        return bool(masks[action[0]] and masks[3 + action[1]])
    return all(masks[2 * i + int(bit)] for i, bit in enumerate(action))


def make_envs(action: str, n_envs: int = 4) -> DummyVecEnv:
    return DummyVecEnv([lambda: Masked(action)] * n_envs)


def make(algorithm: Any, env: Any, **options: Any) -> Any:
    given = {"n_steps": 16, "seed": 0, "device": "cpu", **options}
    core = {"core_kwargs": {"hidden_size": 6}, **given.pop("policy_kwargs", {})}
    return algorithm("PlasticPolicy", env, policy_kwargs=core, **given)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("algorithm", "heads"),
    [
        (RecurrentA2C, {"net_arch": []}),
        (RecurrentPPO, {"net_arch": [4]}),
        (RecurrentA2C, {"share_features_extractor": False}),
    ],
    ids=["A2C", "PPO-hidden-layer", "A2C-separate"],
)
def test_no_impossible_action_is_taken(algorithm: Any, action: str, heads: dict[str, Any]) -> None:
    """The environment asserts it; 10 rollouts of 64 steps are 640 actions."""
    model = make(algorithm, make_envs(action), policy_kwargs=heads)
    model.learn(640)
    taken = [step for env in model.env.envs for step in env.unwrapped.taken]
    assert len(taken) == 640
    assert len({str(step[0]) for step in taken}) > 4


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("fast", [True, False])
def test_the_loss_has_the_masked_probabilities(algorithm: Any, action: str, fast: bool) -> None:
    """Otherwise the ratio of new and old probability is not that of the actions taken."""
    model = make(algorithm, make_envs(action))
    if not fast:
        model.policy.action_net.register_forward_hook(lambda *_: None)
    assert is_untouched(model.policy.action_net) == fast
    model.train = lambda: None
    model.learn(64)
    rollout = model._experience()
    _, log_probs, distribution = model.policy.evaluate_rollout(
        rollout.observations,
        rollout.actions,
        rollout.start_state,
        rollout.episode_starts,
        action_masks=rollout.action_masks,
    )
    torch.testing.assert_close(log_probs, rollout.log_probs, atol=1e-5, rtol=1e-5)
    assert torch.isfinite(distribution.entropy()).all()
    for env in range(4):
        taken = model.env.envs[env].unwrapped.taken
        stored = rollout.action_masks.view(16, 4, -1)[:, env].numpy()
        np.testing.assert_array_equal(stored, [masks for _, masks in taken])


def test_probabilities_worked_by_hand(algorithm: Any) -> None:
    """A softmax over the possible actions only, and its entropy."""
    model = make(algorithm, make_envs("Discrete"))
    policy = model.policy
    with torch.no_grad():
        policy.action_net.weight.zero_()
        policy.action_net.bias[:] = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])
    masks = np.array([[True, False, True, False, False]])
    distribution = policy.get_distribution(torch.zeros(1, 3), action_masks=masks)
    p = 1 / (1 + np.exp(2.0))  # of action 0 against action 2
    expected = torch.tensor([[p, 0, 1 - p, 0, 0]], dtype=torch.float32)
    torch.testing.assert_close(distribution.distribution.probs, expected)
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    assert distribution.entropy().item() == pytest.approx(entropy, rel=1e-5)
    counts = np.bincount(
        [int(policy.predict(np.zeros(3), action_masks=masks[0])[0]) for _ in range(2000)],
        minlength=5,
    )
    assert counts[[1, 3, 4]].sum() == 0
    assert counts[0] == pytest.approx(2000 * p, abs=5 * np.sqrt(2000 * p * (1 - p)))
    best, _ = policy.predict(np.zeros(3), deterministic=True, action_masks=masks[0])
    assert best == 2


@pytest.mark.parametrize("action", ACTIONS)
def test_predict_takes_masks(algorithm: Any, action: str) -> None:
    """Otherwise a trained agent acts impossibly."""
    env = VecNormalize(make_envs(action))
    model = make(algorithm, env).learn(64)
    obs, state, starts = env.reset(), None, np.ones(4, bool)
    for deterministic in (True, False) * 10:
        masks = np.stack(env.env_method("action_masks"))
        actions, state = model.predict(obs, state, starts, deterministic, action_masks=masks)
        obs, _, starts, _ = env.step(actions)


@pytest.mark.parametrize(
    ("masks", "space", "sentence"),
    [
        (np.ones((2, 4)), spaces.Discrete(5), r"must have shape \(2, 5\) .*, not \(2, 4\)"),
        (np.ones((1, 5)), spaces.Discrete(5), r"must have shape \(2, 5\) .*, not \(1, 5\)"),
        ([[1, 0], [0, 0]], spaces.Discrete(2), "masks of environment 1 leave no possible action"),
        (
            [[1, 0, 1, 0], [1, 1, 0, 0]],
            spaces.MultiDiscrete([2, 2]),
            "environment 1 leave no possible action",
        ),
        ([[1, 0], [1]], spaces.Discrete(2), "masks of the environments differ in length"),
        ([[0.0, -np.inf]] * 2, spaces.Discrete(2), "false elsewhere, not .*-inf"),
        ([[1.0, np.nan]] * 2, spaces.Discrete(2), "false elsewhere, not .*nan"),
        ([["False", "True"]] * 2, spaces.Discrete(2), "false elsewhere, not .*False"),
        (np.ones((2, 3)), spaces.MultiBinary(3), r"must have shape \(2, 6\)"),
        (np.ones((2, 3)), spaces.Box(-1, 1, (3,)), "need discrete actions, not the action space"),
    ],
)
def test_masks_that_cannot_be(masks: Any, space: Any, sentence: str) -> None:
    """Otherwise they are broadcast, or an action is drawn from nothing."""
    with pytest.raises(UsageError, match=sentence):
        check_masks(masks, 2, space)
