"""The maze: layout and moves checked by hand, and the rewards of random and of perfect play."""

from collections import deque
from typing import Any

import numpy as np
import pytest

from plasticrl.envs import GridMaze, GridMazeBatch
from plasticrl.envs.grid_maze import MOVES, build_maze

UP, DOWN, LEFT, RIGHT = range(4)


@pytest.mark.parametrize(("size", "free"), [(5, 9), (7, 21), (9, 41), (11, 65), (13, 97)])
def test_pillars(size: int, free: int) -> None:
    maze = build_maze(size, "all")
    for row in range(size):
        for column in range(size):
            border = {row, column} & {0, size - 1} != set()
            pillar = row % 2 == column % 2 == 0
            center = row == column == size // 2
            assert maze.walls[row, column] == ((border or pillar) and not center)
    assert len(maze.cells) == free
    assert maze.cells[maze.center].tolist() == [size // 2, size // 2]
    assert len(maze.goals) == free - 1


def test_outer_goals_are_the_ring_along_the_wall() -> None:
    maze = build_maze(9, "outer")
    ring = {(r, c) for r in range(1, 8) for c in range(1, 8) if {r, c} & {1, 7}}
    assert {tuple(cell) for cell in maze.cells[maze.goals].tolist()} == ring
    assert len(ring) == 24


def place(env: GridMaze, agent: tuple[int, int], goal: tuple[int, int]) -> None:
    """Place the agent and the goal through the saved state."""
    cells = env.batch.maze.cells.tolist()
    state = env.get_state()
    state["agent"][:], state["goal"][:] = cells.index(list(agent)), cells.index(list(goal))
    env.set_state(state)


def test_moves_by_hand() -> None:
    """Size 7, from (3, 3):   1 2 3 4 5      rows and columns of the inside
    1  . . . . .
    2  . # . # .
    3  . . A . .      A the start, G the goal
    4  . # . # .
    5  . . . . G
    """
    env = GridMaze(size=7, wall_penalty=0.5, step_penalty=0.125, episode_length=100)
    observation, _ = env.reset(seed=0)
    place(env, (3, 3), (5, 5))
    assert observation.tolist() == [1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]
    walk = [
        (RIGHT, (3, 4), -0.125, [0, 1, 0, 0, 0, 0, 0, 1, 0]),
        (UP, (3, 4), -0.625, None),  # a pillar above
        (RIGHT, (3, 5), -0.125, None),
        (RIGHT, (3, 5), -0.625, None),  # the border
        (DOWN, (4, 5), -0.125, [0, 0, 1, 1, 0, 1, 0, 0, 1]),
        (LEFT, (4, 5), -0.625, None),
    ]
    for step, (action, position, reward, window) in enumerate(walk, start=1):
        observation, got, terminated, truncated, info = env.step(np.int64(action))
        assert env.batch.agent_position[0].tolist() == list(position)
        assert (got, terminated, truncated, info) == (reward, False, False, {})
        if window is not None:
            assert observation[:9].tolist() == window
        assert observation[11] == np.float32(step / 100)
        assert observation[12] == np.float32(reward)
        assert observation[13:].tolist() == np.eye(4)[action].tolist()
    _, reward, *_ = env.step(np.int64(DOWN))
    assert reward == 10.0 - 0.125
    assert env.batch.goal_position[0].tolist() == [5, 5], "the goal stays"
    assert env.batch.agent_position[0].tolist() != [5, 5], "the agent does not"


def test_window_is_row_major() -> None:
    """At (1, 2) in a maze of size 7, the border is above and a pillar below."""
    env = GridMaze(size=7)
    env.reset(seed=0)
    place(env, (1, 1), (5, 5))
    observation, *_ = env.step(np.int64(RIGHT))
    assert observation[:9].tolist() == [1, 1, 1, 0, 0, 0, 0, 1, 0]
    observation, *_ = env.step(np.int64(LEFT))
    assert observation[:9].tolist() == [1, 1, 1, 1, 0, 0, 1, 0, 1]


def test_hits_teleport_uniformly_and_never_onto_the_goal() -> None:
    n = 20_000
    batch = GridMazeBatch(n, size=5)
    batch.reset(seed=0)
    state = batch.get_state()
    cells = batch.maze.cells.tolist()
    state["agent"][:], state["goal"][:] = cells.index([1, 1]), cells.index([1, 2])
    batch.set_state(state)
    _, rewards, *_ = batch.step(np.full(n, RIGHT))
    assert (rewards == 10.0).all()
    counts = np.bincount(batch.get_state()["agent"], minlength=9)
    assert counts[cells.index([1, 2])] == 0
    assert np.abs(counts[counts > 0] / n - 1 / 8).max() < 0.01
    assert (counts > 0).sum() == 8


@pytest.mark.parametrize("region", ["all", "outer"])
def test_goals_are_uniform_over_their_region(region: str) -> None:
    batch = GridMazeBatch(20_000, size=7, goal_region=region)
    batch.reset(seed=0)
    counts = np.bincount(batch.get_state()["goal"], minlength=21)
    goals = batch.maze.goals
    assert counts.sum() == counts[goals].sum()
    assert np.abs(counts[goals] / 20_000 * len(goals) - 1).max() < 0.15


def test_start_is_the_center_or_random() -> None:
    batch = GridMazeBatch(5_000, size=7)
    batch.reset(seed=0)
    assert (batch.agent_position == 3).all()
    batch = GridMazeBatch(5_000, size=7, random_start=True)
    batch.reset(seed=0)
    assert len(np.unique(batch.agent_position, axis=0)) == 21
    assert (batch.agent_position != batch.goal_position).any(axis=1).all()


def test_a_goal_moves_at_its_rate_to_any_place() -> None:
    """Otherwise a goal moves too often or to a wrong place, or the agent moves with it."""
    batch = GridMazeBatch(20_000, size=7, goal_region="outer", goal_moves=0.25)
    batch.reset(seed=0)
    before = batch.get_state()
    _, rewards, *_ = batch.step(np.zeros(20_000, np.int64))
    after = batch.get_state()
    assert not rewards.any()  # the goals are along the wall, and the agent in the middle
    assert len(np.unique(after["agent"])) == 1
    places = len(batch.maze.goals)
    moved = after["goal"] != before["goal"]
    assert moved.mean() == pytest.approx(0.25 * (1 - 1 / places), abs=0.01)
    counts = np.bincount(after["goal"][moved], minlength=21)
    assert counts.sum() == counts[batch.maze.goals].sum()
    assert np.abs(counts[batch.maze.goals] / moved.sum() * places - 1).max() < 0.2


def test_a_goal_that_does_not_move_changes_no_other_random_number() -> None:
    """Otherwise the option changes episodes in which the goal stays."""
    still, hardly = (GridMazeBatch(50, size=5, goal_moves=rate) for rate in (0.0, 1e-12))
    rng = np.random.default_rng(0)
    for batch in (still, hardly):
        batch.reset(seed=3)
    for _ in range(100):
        actions = rng.integers(0, 4, 50)
        for left, right in zip(still.step(actions)[:2], hardly.step(actions)[:2], strict=True):
            np.testing.assert_array_equal(left, right)


def test_episode_is_truncated_at_its_length_and_never_terminated() -> None:
    env = GridMaze(size=5, episode_length=3)
    env.reset(seed=0)
    ends = [env.step(np.int64(0))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


def shortest_moves(size: int) -> Any:
    """Return the best first moves (F, F) from every cell to every goal, by breadth-first search."""
    maze = build_maze(size, "all")
    places = [tuple(cell) for cell in maze.cells.tolist()]
    best = np.zeros((len(places), len(places)), dtype=np.int64)
    for goal in places:
        queue, seen = deque([goal]), {goal}
        while queue:
            here = queue.popleft()
            for action, (down, right) in enumerate(MOVES.tolist()):
                there = (here[0] - down, here[1] - right)  # from there the action leads here
                if there in places and there not in seen:
                    seen.add(there)
                    queue.append(there)
                    best[places.index(there), places.index(goal)] = action
    return best


def expected_reward(size: int, best: Any = None) -> float:
    """Exact mean episode reward, by following the agent's distribution over the cells.

    A random walk, or the policy `best` (F, F). Here the moves are worked out from the walls.
    """
    maze = build_maze(size, "all")
    places = [tuple(cell) for cell in maze.cells.tolist()]
    ends = [
        [
            places.index(to) if (to := (r + dr, c + dc)) in places else here
            for dr, dc in MOVES.tolist()
        ]
        for here, (r, c) in enumerate(places)
    ]
    moves = np.eye(len(places))[np.array(ends)]  # (F, 4, F)
    totals = []
    for goal in maze.goals:
        step = moves.mean(1) if best is None else moves[np.arange(len(places)), best[:, goal]]
        elsewhere = (np.arange(len(places)) != goal) / (len(places) - 1)
        chance, total = np.eye(len(places))[maze.center], 0.0
        for _ in range(200):
            chance = chance @ step
            hit = chance[goal]
            total += 10.0 * hit
            chance[goal] = 0.0
            chance = chance + hit * elsewhere
        totals.append(total)
    return float(np.mean(totals))


@pytest.mark.parametrize(
    ("size", "random_walk", "perfect"),
    [(7, 27.6, 554.0), (9, 14.8, 411.0), (11, 7.6, 321.0), (13, 5.4, 267.0)],
)
def test_known_numbers(size: int, random_walk: float, perfect: float) -> None:
    """Otherwise the mean reward of 200 steps differs from the exact value or the design's table.

    The table says 5.8 for the random walk at size 13, a sample: the exact number is 5.38.
    """
    n, rng, best = 6_000, np.random.default_rng(0), shortest_moves(size)
    batch = GridMazeBatch(n, size=size)
    for policy, known in ((None, random_walk), (best, perfect)):
        total = np.zeros(n)
        batch.reset(seed=1)
        for _ in range(200):
            world = batch.get_state()
            walk = rng.integers(0, 4, n)
            action = walk if policy is None else policy[world["agent"], world["goal"]]
            total += batch.step(action)[1]
        exact = expected_reward(size, policy)
        assert exact == pytest.approx(known, rel=0.05)
        assert total.mean() == pytest.approx(exact, abs=4 * total.std() / n**0.5)


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("size", 10, "odd"),
        ("size", 3, "from 5 to 301"),
        ("size", 9.0, "integer"),
        ("size", "9", "integer"),
        ("size", None, "integer"),
        ("size", True, "integer"),
        ("goal_reward", 0.0, "greater than 0"),
        ("goal_reward", float("nan"), "finite"),
        ("goal_reward", float("inf"), "finite"),
        ("wall_penalty", -0.1, "at least 0"),
        ("step_penalty", "much", "number"),
        ("goal_moves", 1.5, "at most 1"),
        ("goal_region", "inner", "'all', 'outer'"),
        ("goal_region", ["all"], "'all', 'outer'"),
        ("random_start", 1, "True or False"),
    ],
)
def test_bad_arguments(name: str, value: Any, right: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.*must be") as caught:
        GridMaze(**{name: value})
    assert right in str(caught.value)
    assert repr(value) in str(caught.value)
