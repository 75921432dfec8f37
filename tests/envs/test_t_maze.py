"""T-maze: paths walked by hand, the optimum and chance, and the ways in which an episode ends."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from plasticrl.envs.t_maze import TMaze, TMazeBatch

UP, DOWN, LEFT, RIGHT = range(4)


def at_start(goes_down: int, **options: Any) -> TMaze:
    """Make an environment in which the cue shows the given side."""
    env = TMaze(**options)
    for seed in range(100):
        observation, _ = env.reset(seed=seed)
        if observation[goes_down] == 1.0:
            return env
    raise AssertionError("the cue never says so")


def walk(env: TMaze, *actions: int) -> list[tuple[Any, ...]]:
    return [env.step(np.int64(action)) for action in actions]


@pytest.mark.parametrize("goes_down", [0, 1])
@pytest.mark.parametrize("turn", [UP, DOWN])
def test_a_path_by_hand(goes_down: int, turn: int) -> None:
    """Walk into a wall, to the junction and into an arm."""
    env = at_start(goes_down, corridor_length=2, episode_length=10)
    steps = walk(env, LEFT, UP, RIGHT, DOWN, RIGHT, RIGHT, turn)
    cue = [1.0 - goes_down, float(goes_down)]
    expected = [[*cue, 0, 1], [*cue, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], *[[0, 0, 1, 1]] * 2]
    expected.append([0, 0, 0, 1])
    assert [step[0][:4].tolist() for step in steps] == expected
    reward = 1.0 if (turn == DOWN) == bool(goes_down) else -1.0
    assert [step[1] for step in steps] == [0.0] * 6 + [reward]
    assert [step[2] for step in steps] == [False] * 6 + [True]
    assert not any(step[3] for step in steps)
    history = [0.7, reward, *np.eye(4)[turn]]
    np.testing.assert_allclose(steps[-1][0][4:], history, rtol=1e-6)


def test_an_episode_ends_at_its_time_limit_or_in_an_arm_or_both() -> None:
    """Otherwise a terminal state at the last step is not also truncated, as in Gymnasium."""
    for length, ends in [(1, (False, True)), (2, (True, True)), (3, (True, False))]:
        steps = walk(at_start(0, corridor_length=1, episode_length=length), *[RIGHT, UP][:length])
        assert steps[-1][2:4] == ends


def totals(remembers: bool, n: int = 4000) -> np.ndarray:
    """Return the rewards of episodes that turn as the cue shows, or always up."""
    batch = TMazeBatch(n, corridor_length=3, autoreset_mode=AutoresetMode.SAME_STEP)
    goes_down = batch.reset(seed=0)[0][:, 1] == 1.0
    for _ in range(3):
        _, rewards, terminated, truncated, _ = batch.step(np.full(n, RIGHT))
        assert not np.stack([rewards, terminated, truncated]).any()
    turn = np.where(goes_down, DOWN, UP) if remembers else np.full(n, UP)
    _, rewards, terminated, truncated, _ = batch.step(turn)
    assert terminated.all()
    assert not truncated.any()
    return np.asarray(rewards)


def test_the_optimum_is_one_and_chance_is_zero() -> None:
    assert (totals(remembers=True) == 1.0).all()
    blind = totals(remembers=False)
    assert abs(blind.mean()) < 4 / np.sqrt(len(blind))  # four standard errors


def test_a_random_walk_earns_nothing_on_average() -> None:
    n = 2000
    batch = TMazeBatch(n, autoreset_mode=AutoresetMode.SAME_STEP)
    batch.reset(seed=0)
    rng = np.random.default_rng(0)
    first = np.zeros(n)
    over = np.zeros(n, dtype=bool)
    for _ in range(50):
        _, rewards, terminated, truncated, _ = batch.step(rng.integers(0, 4, n))
        first += np.where(over, 0.0, rewards)
        over |= terminated | truncated
    assert over.all()
    assert 0.2 < (first != 0).mean() < 0.9  # some get to an arm, some do not
    assert abs(first.mean()) < 4 / np.sqrt(n)


@pytest.mark.parametrize("length", [0, -1, 2.5, True, "long"])
def test_a_corridor_of_no_length(length: Any) -> None:
    with pytest.raises(ValueError, match=f"corridor_length must be.*{length}"):
        gym.make("plasticrl/TMaze-v0", corridor_length=length)


@pytest.mark.parametrize("goes_down", [0, 1])
def test_the_scene_shows_where_everything_is(goes_down: int) -> None:
    """Otherwise the cue is not on the goal's side, or not pale after the first cell."""
    env = at_start(goes_down, corridor_length=2)

    def names() -> list[list[str]]:
        scene = env.scene()
        return [[scene.symbols[index].name for index in row] for row in scene.grid]

    side, cue = (3, "cue: down") if goes_down else (1, "cue: up")
    assert names()[side] == ["wall", cue, "wall", "goal", "wall"]
    assert names()[2] == ["wall", "agent", "floor", "floor", "wall"]
    walk(env, RIGHT, RIGHT)
    assert names()[side] == ["wall", f"{cue}, out of sight", "wall", "goal", "wall"]
    assert names()[2] == ["wall", "floor", "floor", "agent", "wall"]
    walk(env, DOWN if goes_down else UP)
    assert names()[side][3] == "agent"
