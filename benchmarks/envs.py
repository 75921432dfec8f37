"""Environment steps per second: native batches against loops over single environments."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from benchmarks.measuring import Settings, alternated, ratio, say
from benchmarks.report import Row, Table
from plasticrl.agents.env_util import make_vec_env
from plasticrl.envs import ENV_IDS

N_STEPS = {30: 400, 256: 200, 4096: 12}
"""Number of environments -> number of steps of each in a timed run."""
QUICK_N_STEPS = {4: 20, 30: 10}
SEED = 0

NOTES = (
    "native: gym.make_vec(id, num_envs=B); native VecEnv: plasticrl.agents.make_vec_env, which "
    "also records every episode's return; loop: B environments from gym.make(id), stepped in turn "
    "and reset at the end of an episode; DummyVecEnv: that of SB3, with the same environments.",
    "A single environment is itself a batch of one row: slower than one written for a single row.",
    "Runs continue the same episodes; at the largest B few runs contain the end of an episode.",
)

Step = Callable[[np.ndarray], object]


def measure(settings: Settings) -> list[Table]:
    """One table, with a row for each environment and batch size."""
    plan = QUICK_N_STEPS if settings.quick else N_STEPS
    rows = [
        _row(env_id, n_envs, n_steps, settings.repeat)
        for env_id in ENV_IDS
        for n_envs, n_steps in plan.items()
    ]
    return [Table("Environment steps per second", rows, NOTES)]


def _row(env_id: str, n_envs: int, n_steps: int, repeat: int) -> Row:
    say(f"  {env_id}, B {n_envs}")
    steps: dict[str, Step] = {
        "native": _native(env_id, n_envs),
        "native VecEnv": _vec_env(make_vec_env(env_id, n_envs, SEED)),
        "loop": _loop(env_id, n_envs),
        "DummyVecEnv": _vec_env(_dummy(env_id, n_envs)),
    }
    actions = _actions(env_id, n_envs, n_steps)
    runs = {name: _run(step, actions) for name, step in steps.items()}
    timings = alternated(runs, repeat)
    rates: Row = {
        f"{name} [steps/s]": n_envs * n_steps / timing.median for name, timing in timings.items()
    }
    return {
        "environment": env_id,
        "B": n_envs,
        **rates,
        "native / loop": ratio(timings["loop"], timings["native"]),
        "native / DummyVecEnv": ratio(timings["DummyVecEnv"], timings["native"]),
        "native VecEnv / DummyVecEnv": ratio(timings["DummyVecEnv"], timings["native VecEnv"]),
    }


def _actions(env_id: str, n_envs: int, n_steps: int) -> np.ndarray:
    """Random actions (steps, B)."""
    space = gym.make(env_id).action_space
    assert isinstance(space, gym.spaces.Discrete)
    return np.random.default_rng(SEED).integers(int(space.n), size=(n_steps, n_envs))


def _run(step: Step, actions: np.ndarray) -> Callable[[], None]:
    def run() -> None:
        for action in actions:
            step(action)

    return run


def _native(env_id: str, n_envs: int) -> Step:
    batch = gym.make_vec(env_id, num_envs=n_envs)
    batch.reset(seed=SEED)
    return batch.step


def _vec_env(env: VecEnv) -> Step:
    env.reset()
    return env.step


def _dummy(env_id: str, n_envs: int) -> VecEnv:
    env = DummyVecEnv([lambda: gym.make(env_id)] * n_envs)
    env.seed(SEED)
    return env


def _loop(env_id: str, n_envs: int) -> Step:
    envs: list[gym.Env[Any, Any]] = [gym.make(env_id) for _ in range(n_envs)]
    for row, env in enumerate(envs):
        env.reset(seed=SEED + row)

    def step(actions: np.ndarray) -> None:
        for env, action in zip(envs, actions, strict=True):
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return step
