"""The compiled form of every environment equals its batch, bit for bit."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from numba import njit
from tests.envs.test_every_env import CASES, N_ROWS

from plasticrl.envs import ENV_IDS
from plasticrl.envs.compiled import can_compile, compiled
from plasticrl.envs.compiled.batch import observe, step

N_STEPS = 150
TRUNCATED_EARLY = [(env_id, {"max_episode_steps": 9, "episode_length": 40}) for env_id in ENV_IDS]


@njit
def play(batch, actions, seen, rewards, terminated, truncated, final, infos):  # type: ignore[no-untyped-def]
    """Take all steps of a row before those of the next, as a rollout does."""
    for b in range(actions.shape[1]):
        for t in range(len(actions)):
            result = step(batch, b, actions[t, b], final[t, b], infos[t, b])
            rewards[t, b], terminated[t, b], truncated[t, b] = result
            observe(batch, b, seen[t, b])


@pytest.mark.parametrize(("env_id", "options"), [*CASES, *TRUNCATED_EARLY])
def test_a_compiled_row_takes_the_steps_of_its_batch(env_id: str, options: dict[str, Any]) -> None:
    """Otherwise an agent trains in another environment than it is evaluated in."""
    mode = AutoresetMode.SAME_STEP
    batch: Any = gym.make_vec(env_id, num_envs=N_ROWS, autoreset_mode=mode, **options)
    batch.reset(seed=5)
    n_actions, (n_features,) = batch.n_actions, batch.single_observation_space.shape
    actions = np.random.default_rng(0).integers(0, n_actions, (N_STEPS, N_ROWS))
    rows = (N_STEPS, N_ROWS)
    assert can_compile(batch)
    ours = compiled(batch)
    seen, final = (np.empty((*rows, n_features), np.float32) for _ in range(2))
    rewards, infos = np.empty(rows), np.empty((*rows, ours.n_infos), np.int64)
    terminated, truncated = np.empty(rows, bool), np.empty(rows, bool)
    play(ours, actions, seen, rewards, terminated, truncated, final, infos)
    known = batch.episode_info(batch.state.world).values()
    assert [value.dtype for value in known] == [infos.dtype] * ours.n_infos
    ended = 0
    for t, action in enumerate(actions):
        batch.state, theirs = batch.transition(batch.state, action)
        np.testing.assert_array_equal(seen[t], theirs.observation)
        np.testing.assert_array_equal(rewards[t], theirs.reward)
        np.testing.assert_array_equal(terminated[t], theirs.terminated)
        np.testing.assert_array_equal(truncated[t], theirs.truncated)
        done = theirs.done
        np.testing.assert_array_equal(final[t][done], theirs.final_observation[done])
        for k, values in enumerate(theirs.final_info.values()):
            np.testing.assert_array_equal(infos[t, done, k], values[done])
        ended += done.sum()
    for mine, leaf in zip(ours.leaves(), batch.state.leaves(), strict=True):
        assert mine.dtype == leaf.dtype
        np.testing.assert_array_equal(mine, leaf)
    assert ended >= N_ROWS


def test_what_has_no_compiled_form() -> None:
    """A subclass can have other dynamics, and tensors are not NumPy's."""
    from plasticrl.envs.grid_maze import GridMazeBatch

    class Other(GridMazeBatch):
        pass

    mode = AutoresetMode.SAME_STEP
    assert not can_compile(Other(2, autoreset_mode=mode))
    assert not can_compile(GridMazeBatch(2, autoreset_mode=mode, device="cpu"))
