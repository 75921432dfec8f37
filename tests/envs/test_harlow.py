"""Harlow's task: paths walked by hand, and policies written by hand against computed rewards."""

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from plasticrl.envs.harlow import Harlow, HarlowBatch
from plasticrl.envs.reference_harlow import HarlowPolicy

LEFT, RIGHT = 0, 1


def at_start(good_is_right: bool, cell: int = 7, **options: Any) -> Harlow:
    """Make an environment that starts at a cell, and whose first good object is on a side."""
    env = Harlow(**options)
    for seed in range(1000):
        env.reset(seed=seed)
        start = env.get_state()
        if start["cell"][0] == cell:
            env.step(np.int64(RIGHT if cell < 8 else LEFT))
            found = bool(env.get_state()["good_is_right"][0])
            env.set_state(start)
            if found == good_is_right:
                return env
    raise AssertionError("no such start")


@pytest.mark.parametrize("good_is_right", [False, True])
@pytest.mark.parametrize("way", [LEFT, RIGHT])
def test_a_trial_by_hand(good_is_right: bool, way: int) -> None:
    """Fixation one cell to the right, then to an object, 3 cells away, and back to the fixation."""
    env = at_start(good_is_right, n_objects=9)
    good, other = env.batch.state.world.objects[0].tolist()
    left, right = (other / 10, good / 10) if good_is_right else (good / 10, other / 10)
    steps = [env.step(np.int64(action)) for action in [RIGHT, way, 1 - way, way, way, way]]
    reward = 1.0 if (way == RIGHT) == good_is_right else -1.0
    assert [step[1] for step in steps] == [0.2, 0, 0, 0, 0, reward]
    near = [[0, left, 0, 0, 0, 0, 0, right, 0]]
    if way == LEFT:
        moved = [[0, 0, left, 0, 0, 0, 0, 0, right], [0, 0, 0, left, 0, 0, 0, 0, 0]]
        back = [0, 0, 0, 0, 0, 0, 0, 1, 0]
    else:
        moved = [[left, 0, 0, 0, 0, 0, right, 0, 0], [0, 0, 0, 0, 0, right, 0, 0, 0]]
        back = [0, 1, 0, 0, 0, 0, 0, 0, 0]
    expected = [*near, moved[0], *near, *moved, back]
    np.testing.assert_allclose([step[0][:9] for step in steps], expected, rtol=1e-6)
    np.testing.assert_allclose(steps[-1][0][9:], [1, 6 / 250, reward, 1 - way, way], rtol=1e-6)
    again = [env.step(np.int64(1 - way)) for _ in range(3)]
    assert [step[1] for step in again] == [0, 0, 0.2]


def test_the_ring_closes() -> None:
    """Otherwise an agent that walks away from the fixation never sees it again."""
    env = at_start(good_is_right=True, cell=7)
    seen = [env.step(np.int64(LEFT))[0][:9] for _ in range(16)]
    # From cell 7 to 3 with the fixation 2 to 5 to the right, out of sight up to cell 13, and there
    # at the left end of the view, until the agent is at it.
    places = [np.flatnonzero(view).tolist() for view in seen]
    assert places == [[6], [7], [8], *[[]] * 8, [0], [1], [2], [3], [1, 7]]


def test_an_episode_ends_with_its_last_choice_or_at_its_time_limit() -> None:
    for length, ends in [(3, (False, True)), (4, (True, True)), (5, (True, False))]:
        env = at_start(good_is_right=True, n_trials=1, episode_length=length)
        steps = [env.step(np.int64(RIGHT)) for _ in range(min(length, 4))]
        assert steps[-1][2:4] == ends
        done = int(length > 3)
        assert steps[-1][4] == {"trials": done, "correct_1": done}


def play(policy: Any, n_rows: int, **options: Any) -> tuple[Any, Any, Any]:
    """Return returns (B,), lengths (B,) and the final infos of one episode in each row."""
    batch = HarlowBatch(n_rows, autoreset_mode=AutoresetMode.SAME_STEP, **options)
    observation, _ = batch.reset(seed=0)
    over = np.zeros(n_rows, dtype=bool)
    total, steps, infos = np.zeros(n_rows), np.zeros(n_rows), {}
    while not over.all():
        action = policy(observation)
        observation, reward, terminated, truncated, info = batch.step(action)
        total += np.where(over, 0, reward)
        steps += ~over
        ends = (terminated | truncated) & ~over
        for name, value in info.get("final_info", {}).items():
            if name[0] != "_":
                infos.setdefault(name, np.zeros(n_rows, dtype=np.int64))[ends] = value[ends]
        over |= ends
    return total, steps, infos


def by_hand(remembers: bool, n_rows: int) -> Any:
    policy = HarlowPolicy(remembers)
    policy.reset(n_rows)
    return policy.act


def test_the_optimum_is_reached_by_memory() -> None:
    """6.2: .2 for each fixation, 0 for the guess, and 1 for each of the 5 other choices.

    A trial takes 3 steps to the object, and 3 to the fixation from the object, or on average 2
    from the start.
    """
    n = 20_000
    total, steps, infos = play(by_hand(True, n), n)
    accuracy = np.array([infos[f"correct_{k}"].mean() for k in range(1, 7)])
    assert accuracy[1:].tolist() == [1.0] * 5
    assert accuracy[0] == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(n))
    assert set(np.round(total, 6)) == {5.2, 7.2}
    assert total.mean() == pytest.approx(6 * 0.2 + 0 + 5, abs=4 / np.sqrt(n))
    assert steps.mean() == pytest.approx(2 + 5 * 3 + 6 * 3, abs=0.03)
    assert (infos["trials"] == 6).all()


def test_chance_is_the_fixations_reward_alone() -> None:
    """1.2, with each choice right in half of the trials."""
    n = 20_000
    total, _, infos = play(by_hand(False, n), n)
    for k in range(1, 7):
        assert infos[f"correct_{k}"].mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(n))
    assert total.mean() == pytest.approx(1.2, abs=4 * np.sqrt(6) / np.sqrt(n))


def random_walk() -> float:
    """Compute the expected return of a random walk, by the probabilities of all its states.

    A choice earns 0 on average, so that only the fixations' .2 count.
    """
    chance = np.zeros((6, 2, 17))  # by trial, stage and cell
    chance[0, 0, [5, 6, 7, 9, 10, 11]] = 1 / 6
    total = 0.0
    for _ in range(250):
        chance = (np.roll(chance, 1, axis=-1) + np.roll(chance, -1, axis=-1)) / 2
        total += 0.2 * chance[:, 0, 8].sum()
        chance[:, 1, 8] += chance[:, 0, 8]
        chance[:, 0, 8] = 0
        ends = chance[:, 1, [5, 11]].copy()
        chance[:, 1, [5, 11]] = 0
        chance[1:, 0, [5, 11]] += ends[:-1]
    return total


def test_a_random_walk_earns_what_is_computed() -> None:
    n = 4000
    rng = np.random.default_rng(0)
    total, _, _ = play(lambda observation: rng.integers(0, 2, n), n)
    assert random_walk() == pytest.approx(0.95, abs=0.005)
    assert total.mean() == pytest.approx(random_walk(), abs=4 * total.std() / np.sqrt(n))


def test_objects_are_two_and_not_the_fixation() -> None:
    """Otherwise the objects cannot be told apart, or one of them looks like the fixation."""
    batch = HarlowBatch(6000, n_objects=3)
    batch.reset(seed=0)
    pairs, counts = np.unique(batch.state.world.objects, axis=0, return_counts=True)
    assert pairs.tolist() == [[1, 2], [1, 3], [2, 1], [2, 3], [3, 1], [3, 2]]
    np.testing.assert_allclose(counts / 6000, 1 / 6, atol=0.02)
    starts = np.bincount(batch.state.world.cell, minlength=17) / 6000
    np.testing.assert_allclose(starts[[5, 6, 7, 9, 10, 11]], 1 / 6, atol=0.02)
    for n_objects in (2, 1000, 100_000):
        values = HarlowBatch(1, n_objects=n_objects)._values[1:]
        assert len(np.unique(values)) == n_objects
        assert values.min() > 0
        assert values.max() < 1


def test_nothing_of_an_episode_is_in_the_next_one() -> None:
    """Otherwise the last action, its reward or the good object help in the next episode."""
    n = 500
    batch = HarlowBatch(n, n_trials=1, autoreset_mode=AutoresetMode.SAME_STEP)
    observation, _ = batch.reset(seed=0)
    policy = HarlowPolicy()
    policy.reset(n)
    ended = np.zeros(n, dtype=bool)
    before = batch.state.world.objects
    for _ in range(6):
        observation, reward, terminated, *_ = batch.step(policy.act(observation))
        assert (terminated == (abs(reward) == 1)).all()
        assert not observation[terminated][:, 10:].any()
        assert (observation[terminated][:, :9].sum(axis=1) == 1).all()
        ended |= terminated
    assert ended.all()
    assert (before != batch.state.world.objects).any(axis=1).mean() > 0.99


def test_the_scene_shows_what_is_where() -> None:
    """Otherwise an object is at the other side, or not pale where the agent does not see it."""
    env = at_start(good_is_right=True, n_trials=2)

    def ring() -> dict[int, str]:
        scene = env.scene()
        names = [scene.symbols[index].name for index in scene.grid[3]]
        return {k: name for k, name in enumerate(names) if not name.startswith("cell")}

    def outcomes() -> list[str]:
        scene = env.scene()
        names = [scene.symbols[index].name for index in scene.grid[1]]
        return [name for name in names if name != "background"]

    assert ring() == {8: "fixation"}
    assert env.scene().grid[4, 7] == 8  # the agent
    env.step(np.int64(RIGHT))
    assert ring() == {5: "other object", 11: "good object"}
    env.step(np.int64(LEFT))
    env.step(np.int64(LEFT))
    assert ring() == {5: "other object", 11: "good object, out of sight"}
    assert outcomes() == ["choice to come"] * 2
    env.step(np.int64(LEFT))
    assert outcomes() == ["wrong choice", "choice to come"]
    names = [env.scene().symbols[index].name for index in env.scene().grid[3]]
    in_sight = [k for k, name in enumerate(names) if not name.endswith("out of sight")]
    assert in_sight == [*range(1, 10)]


@pytest.mark.parametrize(
    ("options", "right"),
    [
        ({"n_trials": 0}, "n_trials must be an integer from 1 to 100, got 0"),
        ({"n_trials": 2.5}, "n_trials must be an integer from 1 to 100, got 2.5"),
        ({"n_objects": 1}, "n_objects must be an integer from 2 to 100000, got 1"),
    ],
)
def test_bad_arguments(options: dict[str, Any], right: str) -> None:
    with pytest.raises(ValueError, match=f"^{right}"):
        Harlow(**options)
