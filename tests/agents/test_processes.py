"""Environments in processes of their own, which do not import ``plasticrl.envs`` by themselves."""

import subprocess
import sys

import pytest

from plasticrl.envs import ENV_IDS

SCRIPT = """
import sys
from functools import partial

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import SubprocVecEnv

from plasticrl.agents import BatchVecEnv, make_vec_env
from plasticrl.envs import ENV_IDS, HistoryObservation

method, options = sys.argv[1], {"episode_length": 6}
start = {"vec_env_cls": SubprocVecEnv, "vec_env_kwargs": {"start_method": method}}

def same_episodes(processes, batch):
    assert isinstance(batch, BatchVecEnv)
    np.testing.assert_array_equal(processes.reset(), batch.reset())
    for step in range(15):
        actions = np.array([step % 2, 1])[:batch.num_envs]
        for mine, other in zip(processes.step(actions)[:3], batch.step(actions)[:3]):
            np.testing.assert_array_equal(mine, other)
    processes.close()

def same_vector_episodes(processes, batch):
    np.testing.assert_array_equal(processes.reset(seed=5)[0], batch.reset(seed=5)[0])
    for step in range(15):
        actions = np.array([step % 2, 1])[:batch.num_envs]
        for mine, other in zip(processes.step(actions)[:4], batch.step(actions)[:4]):
            np.testing.assert_array_equal(mine, other)
    processes.close()

for env_id, n_envs in list(zip(ENV_IDS, [2] + [1] * len(ENV_IDS)))[:int(sys.argv[2])]:
    batch = make_vec_env(env_id, n_envs, 5, env_kwargs=options)
    same_episodes(make_vec_env(env_id, n_envs, 5, env_kwargs=options, **start), batch)
    make = {"num_envs": n_envs, "max_episode_steps": 4}
    processes = gym.make_vec(
        env_id, vectorization_mode="async", vector_kwargs={"context": method}, **make
    )
    batch = gym.make_vec(env_id, vectorization_mode="vector_entry_point", **make)
    same_vector_episodes(processes, batch)

# By hand, with the module in the id.
maker = partial(gym.make, f"plasticrl.envs:{ENV_IDS[0]}", **options)
processes = SubprocVecEnv([maker], start_method=method)
processes.seed(5)
same_episodes(processes, make_vec_env(ENV_IDS[0], 1, 5, env_kwargs=options))

wrapped = make_vec_env("CartPole-v1", 1, 5, wrapper_class=HistoryObservation, **start)
assert wrapped.reset().shape == (1, 4 + 2 + 2)
wrapped.close()
print("the same")
"""


@pytest.mark.parametrize(("method", "n_envs"), [("spawn", 1), ("forkserver", len(ENV_IDS))])
def test_processes_play_the_episodes_of_the_native_batch(method: str, n_envs: int) -> None:
    """Otherwise a worker does not find the environment, or plays other episodes.

    The program is given as a text, so that a worker cannot import its main module, which would
    import ``plasticrl.envs`` there.
    """
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, method, str(n_envs)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout == "the same\n", done.stderr
