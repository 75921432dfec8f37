"""Transitive inference: trials by hand, the draws, and the ideal observer against computations."""

from itertools import combinations, permutations
from math import comb
from typing import Any

import array_api_compat.numpy
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from plasticrl.envs.counter_random import event_places, uniforms
from plasticrl.envs.reference_transitive_inference import IdealObserver, n_orders
from plasticrl.envs.transitive_inference import (
    N_CANDIDATES,
    TransitiveInference,
    TransitiveInferenceBatch,
)

N_BITS = 30  # of both items
GO, BIAS, TIME, REWARD, UNUSED, ACTIONS = 30, 31, 32, 33, 34, slice(35, 37)
EIGHT = {"min_items": 8, "max_items": 8}


def make(n_rows: int, **options: Any) -> TransitiveInferenceBatch:
    return TransitiveInferenceBatch(n_rows, autoreset_mode=AutoresetMode.SAME_STEP, **options)


def play(batch: TransitiveInferenceBatch, observer: IdealObserver | None) -> tuple[Any, Any]:
    """Play one episode; return the pairs (trials, B, 2) and whether the answers were right.

    Without an observer, all actions are 0.
    """
    observation, _ = batch.reset(seed=0)
    pairs, right = [], []
    if observer is not None:
        observer.reset(batch.num_envs)
    go = 2 * batch.item_bits
    for _ in range(batch.episode_length):
        action = np.zeros(batch.num_envs, dtype=np.int64)
        if observer is not None:
            action = observer.act(observation)
        asks, pair = observation[:, go] > 0, batch.ranks
        observation, reward, *_ = batch.step(action)
        assert (asks == (reward != 0)).all()
        if asks.any():
            assert asks.all()
            pairs.append(pair)
            right.append(reward > 0)
    return np.array(pairs), np.array(right)


def test_two_trials_by_hand() -> None:
    """Otherwise a part of a trial is missing, or the action or the reward is seen elsewhere."""
    env = TransitiveInference(**EIGHT)
    observation, _ = env.reset(seed=1)
    items = env.batch.state.world.items[0, :8]
    bits = (items[:, None] >> np.arange(15)) % 2 * 2.0 - 1
    seen, rewards, pairs = [observation], [], []
    actions = [1, 0, 1, 1, 0, 1, 0, 0, 1, 0]  # at go: 1 at step 3, 0 at step 7
    for action in actions:
        pairs.append(env.batch.ranks[0].tolist())
        observation, reward, *_ = env.step(np.int64(action))
        seen.append(observation)
        rewards.append(reward)
    history = np.array(seen)
    assert pairs[:2] == [[-1, -1]] * 2
    assert pairs[2:6] == [pairs[2]] * 4
    assert pairs[6:10] == [pairs[6]] * 4
    for step, pair in [(2, pairs[2]), (6, pairs[6])]:
        assert abs(pair[0] - pair[1]) == 1
        np.testing.assert_array_equal(history[step, :N_BITS], bits[pair].ravel())
    assert not history[[0, 1, 3, 4, 5, 7, 8, 9], :N_BITS].any()
    assert np.flatnonzero(history[:, GO]).tolist() == [3, 7]
    assert (history[:, BIAS] == 1).all()
    assert not history[:, UNUSED].any()
    np.testing.assert_allclose(history[:, TIME], np.arange(11) / 122, rtol=1e-6)
    first = 1.0 if pairs[3][0] < pairs[3][1] else -1.0
    second = 1.0 if pairs[7][0] > pairs[7][1] else -1.0
    assert rewards == [0, 0, 0, first, 0, 0, 0, second, 0, 0]
    assert history[1:, REWARD].tolist() == rewards
    assert history[:, ACTIONS].tolist() == [
        {4: [0, 1], 8: [1, 0]}.get(step, [0, 0]) for step in range(11)
    ]


@pytest.mark.parametrize(("bits", "n_items"), [(15, 8), (12, 9), (10, 6)])
def test_items_are_those_of_rejection_one_by_one(bits: int, n_items: int) -> None:
    """Otherwise the items have another distribution. The reference takes candidates in turn."""
    n_rows = 3000
    batch = make(n_rows, item_bits=bits, min_items=n_items, max_items=n_items)
    batch.reset(seed=0)
    rows = batch.state.rows
    places = event_places(1 + N_CANDIDATES)
    draws = uniforms(array_api_compat.numpy, rows.key, rows.counter - 1, places)
    candidates = (draws[1:] * 2**bits).astype(np.int64).T.tolist()
    n_short = 0
    for row, codes in enumerate(candidates):
        taken: list[int] = []
        for code in codes:
            agrees = [bits - bin(code ^ other).count("1") for other in taken]
            if len(taken) < n_items and all(100 * one <= 66 * bits for one in agrees):
                taken.append(code)
        ours = batch.state.world.items[row].tolist()
        assert ours[: len(taken)] == taken
        assert ours[n_items:] == [-1] * (9 - n_items)
        assert len(set(ours[:n_items])) == n_items
        n_short += len(taken) < n_items
    assert (n_short > 0) == (bits == 12)  # there are too few candidates in one episode of 800


def test_the_items_bits_are_random_and_the_order_too() -> None:
    """Otherwise the bits of an item tell its place in the order."""
    batch = make(20_000, **EIGHT)
    batch.reset(seed=3)
    codes = batch.state.world.items[:, :8]
    ones = (codes[:, :, None] >> np.arange(15)) & 1
    assert np.abs(ones.mean(axis=0) - 0.5).max() < 0.02
    assert abs(np.mean(codes[:, 0] < codes[:, 7]) - 0.5) < 0.02


def test_the_number_of_items_is_each_rows_own() -> None:
    batch = make(10_000)
    batch.reset(seed=0)
    counts = np.bincount(batch.n_items, minlength=9) / 10_000
    assert counts[:4].tolist() == [0] * 4
    np.testing.assert_allclose(counts[4:], 0.2, atol=0.02)
    assert ((batch.state.world.items >= 0).sum(axis=1) == batch.n_items).all()


def counts_of(pairs: Any) -> dict[tuple[int, int], float]:
    """Return the share of every pair of ranks that occurs."""
    found, n = np.unique(pairs.reshape(-1, 2), axis=0, return_counts=True)
    return {(int(i), int(j)): k / n.sum() for (i, j), k in zip(found, n, strict=True)}


def both(*pairs: tuple[int, int]) -> dict[tuple[int, int], Any]:
    """Return equal shares for the pairs, each in either order."""
    share = pytest.approx(0.5 / len(pairs), abs=0.01)
    return {one: share for i, j in pairs for one in ((i, j), (j, i))}


NEIGHBORS = [(i, i + 1) for i in range(7)]
ANY = list(combinations(range(8), 2))


def test_training_shows_neighbors_and_a_test_any_pair() -> None:
    """Otherwise a pair or an order of its items is more frequent than another."""
    pairs, _ = play(make(3000, **EIGHT), None)
    assert len(pairs) == 30
    assert counts_of(pairs[:20]) == both(*NEIGHBORS)
    assert counts_of(pairs[20:]) == both(*ANY)


@pytest.mark.parametrize(("schedule", "link"), [("linking", (3, 4)), ("sham", (1, 2))])
def test_linking_shows_two_lists_then_a_pair(schedule: str, link: tuple[int, int]) -> None:
    """10 trials of ABCD, 10 of EFGH, 4 of DE (or BC, the sham pair of the published code)."""
    batch = make(4000, schedule=schedule, n_test_trials=1, **EIGHT)
    assert batch.episode_length == 2 + 4 * 25
    pairs, _ = play(batch, None)
    assert counts_of(pairs[:10]) == both(*NEIGHBORS[:3])
    assert counts_of(pairs[10:20]) == both(*NEIGHBORS[4:])
    assert counts_of(pairs[20:24]) == both(link)
    assert counts_of(pairs[24]) == both(*ANY)


def test_lists_of_an_odd_number_of_items() -> None:
    """7 items are ABC and DEFG."""
    pairs, _ = play(make(2000, schedule="linking", min_items=7, max_items=7), None)
    assert counts_of(pairs[:10]) == both(*NEIGHBORS[:2])
    assert counts_of(pairs[10:20]) == both(*NEIGHBORS[3:6])
    assert counts_of(pairs[20:24]) == both((2, 3))


def all_shown(n_links: int, n_all: int, n_trials: int) -> float:
    """Return the probability that each of some links is drawn, by inclusion and exclusion."""
    return sum(
        (-1) ** k * comb(n_links, k) * (1 - k / n_all) ** n_trials for k in range(n_links + 1)
    )


def assert_share(right: Any, expected: float) -> None:
    """Check that the share of right answers is as expected, to 4 standard errors."""
    error = 4 * np.sqrt(expected * (1 - expected) / len(right)) + 1e-9
    assert right.mean() == pytest.approx(expected, abs=error)


def test_the_ideal_observer_in_the_first_test_trial() -> None:
    """Otherwise an agent is compared with a share that it cannot reach, or can exceed."""
    expected = [(1 + all_shown(distance, 7, 20)) / 2 for distance in range(1, 8)]
    assert [round(expected[0], 3), round(expected[6], 3)] == [0.977, 0.852]
    mean = sum((8 - d) * share for d, share in enumerate(expected, 1)) / 28
    assert round(mean, 3) == 0.934
    pairs, right = play(make(20_000, n_test_trials=1, **EIGHT), IdealObserver())
    assert_share(right[20], mean)
    distance = abs(pairs[20, :, 0] - pairs[20, :, 1])
    for d, share in enumerate(expected, 1):
        assert_share(right[20][distance == d], share)


@pytest.mark.parametrize("schedule", ["linking", "sham"])
def test_the_ideal_observer_links_lists(schedule: str) -> None:
    """Within a list, 3 links in 10 trials; across lists, those of both sides and the linking one.

    Without the linking pair, the order across lists is unknown. Since the linking trials are of
    one pair, it is known after them, and the sham pair after its trials.
    """
    batch = make(20_000, schedule=schedule, n_test_trials=1, **EIGHT)
    pairs, right = play(batch, IdealObserver(n_training_trials=24))
    low, high = pairs[24].min(axis=1), pairs[24].max(axis=1)
    for i, j in ANY:
        links = set(range(i, j)) - ({3} if schedule == "linking" else {1})
        known = 1.0
        for half in (range(3), range(4, 7)):
            known *= all_shown(len(links & set(half)), 3, 10)
        if 3 in links:
            known = 0.0
        assert_share(right[24][(low == i) & (high == j)], (1 + known) / 2)


@pytest.mark.parametrize("n_training", [0, 1, 3, 5])
def test_the_ideal_observer_is_that_of_all_orders(n_training: int) -> None:
    """Otherwise some answer is not the one that most of the possible orders give.

    The reference enumerates all 120 orders of 5 items, and after every answer leaves out those that
    disagree with it, or in which the items of a training trial are not neighbors.
    """
    n_rows, n = 300, 5
    options: dict[str, Any] = {"min_items": n, "max_items": n, "n_test_trials": 8}
    batch = make(n_rows, n_training_trials=n_training, **options)
    observer = IdealObserver(n_training)
    observer.reset(n_rows)
    observation, _ = batch.reset(seed=2)
    place = np.array([np.argsort(order) for order in permutations(range(n))])  # (120, item)
    possible = np.ones((n_rows, len(place)), dtype=bool)
    n_asked, n_certain, n_likely = 0, 0, 0
    for _ in range(batch.episode_length):
        answer = observer.act(observation)
        if observation[0, GO]:
            one, other = batch.ranks.T
            first = place[:, one].T < place[:, other].T
            if n_asked < n_training:
                possible &= abs(place[:, one].T - place[:, other].T) == 1
            yes = (possible & first).sum(axis=1) / possible.sum(axis=1)
            assert (answer[yes > 0.5] == 1).all()
            assert (answer[yes < 0.5] == 0).all()
            n_certain += int(np.isin(yes, (0, 1)).sum())
            n_likely += int((~np.isin(yes, (0, 0.5, 1))).sum())
            possible &= first == (one < other)[:, None]
            n_asked += 1
        observation, *_ = batch.step(answer)
    assert n_asked == n_training + 8
    assert n_certain > 0
    assert n_likely > 0


def test_orders_are_counted() -> None:
    """6 orders of three things, 3 with one before another, 1 of a chain, 0 of a circle."""
    assert [n_orders(earlier) for earlier in [(), (0, 0, 0), (0, 1, 0), (0, 1, 2), (2, 1)]] == [
        1,
        6,
        3,
        1,
        0,
    ]


def test_chance_is_one_half() -> None:
    """Otherwise an agent that always answers the same earns or loses by it."""
    _, right = play(make(5000), None)
    assert_share(right.ravel(), 0.5)


def test_info_counts_the_right_answers_in_test_trials() -> None:
    batch = make(50, n_training_trials=3, n_test_trials=4)
    _, right = play(batch, None)
    batch.reset(seed=0)
    for _ in range(batch.episode_length):
        *_, info = batch.step(np.zeros(50, dtype=np.int64))
    assert info["final_info"]["correct"].tolist() == right[3:].sum(axis=0).tolist()


def test_the_scene_shows_the_pair() -> None:
    """Otherwise a recording does not tell which items a trial was about."""
    env = TransitiveInference(**EIGHT)
    env.reset(seed=0)

    def place_of(name: str) -> list[list[int]]:
        scene = env.scene()
        index = [symbol.name for symbol in scene.symbols].index(name)
        return [list(map(int, place)) for place in np.argwhere(scene.grid == index)]

    assert place_of("item 1") == []
    assert env.scene().caption == ""
    for _ in range(2):
        env.step(np.int64(0))
    one, other = env.batch.ranks[0].tolist()
    assert place_of("item 1") == [[one, 0]]
    assert place_of("item 2") == [[other, 1]]
    assert place_of("before the other item") == [[min(one, other), 2]]
    assert len(place_of("+1") + place_of("-1")) == N_BITS
    code = env.batch.state.world.items[0, one]
    positive = [column - 3 for row, column in place_of("+1") if row == one]
    assert positive == [place for place in range(15) if code >> place & 1]
    assert env.scene().caption == f"is {'ABCDEFGH'[one]} before {'ABCDEFGH'[other]}?"
    assert place_of("go light, on") == []
    env.step(np.int64(0))
    assert place_of("+1") == []
    assert len(place_of("go light, on")) == 1


@pytest.mark.parametrize(
    ("options", "right"),
    [
        ({"max_items": 10}, "max_items must be an integer from 2 to 9, got 10"),
        ({"min_items": 1}, "min_items must be an integer from 2 to 8, got 1"),
        ({"min_items": 5, "max_items": 4}, "min_items must be an integer from 2 to 4, got 5"),
        (
            {"schedule": "linking", "max_items": 5},
            "max_items must be an integer from 6 to 9, got 5",
        ),
        (
            {"schedule": "sham", "min_items": 4},
            "min_items must be an integer from 6 to 8, got 4",
        ),
        ({"item_bits": 9}, "item_bits must be an integer from 10 to 20, got 9"),
        (
            {"schedule": "linked"},
            "schedule must be one of 'standard', 'linking', 'sham', got 'linked'",
        ),
        (
            {"n_training_trials": -1},
            "n_training_trials must be an integer of at least 0, got -1",
        ),
        ({"n_test_trials": 0}, "n_test_trials must be an integer of at least 1, got 0"),
        ({"n_link_trials": 4}, "n_link_trials must be None with schedule='standard'"),
        (
            {"n_link_trials": 1.5, "schedule": "sham"},
            "n_link_trials must be an integer of at least 0, got 1.5",
        ),
        ({"episode_length": 123}, "episode_length must be an integer from 1 to 122, got 123"),
    ],
)
def test_bad_arguments(options: dict[str, Any], right: str) -> None:
    with pytest.raises(ValueError, match=f"^{right}"):
        TransitiveInference(**options)
