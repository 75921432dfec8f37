"""The agents learn CartPole, and a memory task that a feed-forward policy cannot solve."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TransformObservation
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from plasticrl.agents import RecurrentA2C, RecurrentPPO

pytestmark = pytest.mark.slow

DELAY = 3


class CueRecall(gym.Env[np.ndarray, np.int64]):
    """A cue at the first step, a few blank steps, then a go signal: answer with the cue.

    Observation: (is cue 0, is cue 1, go). Reward 1 for the right answer at the go, which is the
    last step, and 0 otherwise. Without memory, no policy earns more than 0.5 per episode.
    """

    observation_space = spaces.Box(0.0, 1.0, (3,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._cue = int(self.np_random.integers(2))
        self._time = 0
        return np.eye(3, dtype=np.float32)[self._cue], {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._time == DELAY + 1:
            return np.zeros(3, np.float32), float(action == self._cue), True, False, {}
        self._time += 1
        go = self._time == DELAY + 1
        return np.array([0, 0, go], dtype=np.float32), 0.0, False, False, {}


def cue_recall(seed: int) -> VecEnv:
    return make_vec_env(CueRecall, n_envs=16, seed=seed)


def reward_after_training(core: str, core_kwargs: dict[str, Any], seed: int) -> float:
    """Mean episode reward over 400 episodes of new cues after 60,000 steps."""
    model = RecurrentA2C(
        "PlasticPolicy",
        cue_recall(seed),
        learning_rate=3e-3,
        n_steps=2 * (DELAY + 2),
        ent_coef=0.01,
        policy_kwargs={"core": core, "core_kwargs": core_kwargs},
        seed=seed,
        device="cpu",
    )
    model.learn(60_000)
    mean, _ = evaluate_policy(model, cue_recall(seed + 1000), n_eval_episodes=400)
    return float(np.mean(mean))


@pytest.mark.parametrize(
    ("core", "core_kwargs"),
    [
        ("plastic_rnn", {"hidden_size": 32, "modulation": "simple", "fan_out": True}),
        ("lstm", {"hidden_size": 32}),
    ],
)
def test_a_core_with_memory_recalls_the_cue(core: str, core_kwargs: dict[str, Any]) -> None:
    """Otherwise the gradient does not reach the cue, or the state is lost."""
    assert reward_after_training(core, core_kwargs, seed=0) > 0.9


def test_a_core_without_memory_guesses() -> None:
    """Otherwise the task needs no memory, and the test above proves nothing."""
    assert reward_after_training("identity", {}, seed=0) <= 0.65


def test_three_lines_of_a_users_own_script_improve_on_cartpole() -> None:
    """Otherwise the defaults do not work for a first trial of the agent.

    The reward is the mean of four seeds; a single seed reaches 15 to 190, depending on rounding.
    """
    first, last = [], []
    for seed in range(4):
        model = RecurrentA2C("PlasticPolicy", Monitor(gym.make("CartPole-v1")), seed=seed)
        model.learn(20_000)
        rewards = model.get_env().env_method("get_episode_rewards")[0]  # type: ignore[union-attr]
        first += rewards[:20]
        last += rewards[-20:]
    assert np.mean(last) >= 2 * np.mean(first)


def without_velocities(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """CartPole's observation with only the position of the cart and the angle of the pole."""
    space = env.observation_space
    assert isinstance(space, spaces.Box)
    kept = spaces.Box(space.low[[0, 2]], space.high[[0, 2]], dtype=np.float32)
    return TransformObservation(env, lambda observation: observation[[0, 2]], kept)


@pytest.mark.parametrize(("core", "seed"), [("lstm", 0), ("gru", 1), ("plastic_rnn", 0)])
def test_ppo_balances_the_pole_without_velocities(core: str, seed: int) -> None:
    """Otherwise ``RecurrentPPO`` with its defaults needs more than 50,000 steps for CartPole."""
    wrapped = {"wrapper_class": without_velocities}
    env = VecNormalize(make_vec_env("CartPole-v1", 8, seed, **wrapped), norm_reward=False)
    unseen = make_vec_env("CartPole-v1", 8, seed + 1000, **wrapped)
    trial = VecNormalize(unseen, training=False, norm_reward=False)
    trial.obs_rms = env.obs_rms
    policy_kwargs = {"core": core, "core_kwargs": {"hidden_size": 64}}
    model = RecurrentPPO("PlasticPolicy", env, seed=seed, policy_kwargs=policy_kwargs, device="cpu")
    best = 0.0
    while best < 450 and model.num_timesteps + 8_192 <= 50_000:
        model.learn(8_192, reset_num_timesteps=False)
        best = float(np.mean(evaluate_policy(model, trial, n_eval_episodes=16)[0]))
    assert best >= 450
