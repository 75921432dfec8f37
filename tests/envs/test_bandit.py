"""Bandit: pulls by hand, how arms are drawn, and what optimal and other agents get."""

from fractions import Fraction
from functools import cache
from math import comb, factorial
from typing import Any

import numpy as np
import pytest
from tests.envs.reference_play import play

from plasticrl.envs.bandit import N_RECENT, N_TILES, Bandit, BanditBatch
from plasticrl.envs.reference import OptimalPair, OptimalTwoArms, ThompsonSampling

N_ROWS = 8000


class RandomArms:
    """Chance."""

    def __init__(self, n_arms: int) -> None:
        self.n_arms, self.rng = n_arms, np.random.default_rng(0)

    def reset(self, n_rows: int) -> None:
        pass

    def act(self, observation: Any) -> Any:
        return self.rng.integers(0, self.n_arms, len(observation))


class BestArm:
    """The agent that knows the probabilities."""

    def __init__(self, batch: BanditBatch) -> None:
        self.batch = batch

    def reset(self, n_rows: int) -> None:
        pass

    def act(self, observation: Any) -> Any:
        return self.batch.probabilities.argmax(axis=1)


def assert_mean(total: Any, expected: float) -> None:
    """Check that a mean over rows is the expected one, within four standard errors."""
    assert total.mean() == pytest.approx(expected, abs=4 * total.std() / np.sqrt(len(total)))


def test_pulls_by_hand() -> None:
    """Otherwise an observation has its parts at other places, or a reward of another arm."""
    env = Bandit(n_arms=3, episode_length=8)
    observation, _ = env.reset(seed=0)
    assert observation.tolist() == [1, 0, 0, 0, 0, 0]
    state = env.get_state()
    env.set_state({**state, "probabilities": np.array([[1.0, 0.0, 1.0]])})
    for step, (arm, pays) in enumerate([(0, 1), (1, 0), (2, 1), (1, 0), (0, 1), (0, 1), (2, 1)]):
        observation, reward, terminated, truncated, _ = env.step(np.int64(arm))
        assert (reward, terminated, truncated) == (pays, False, False)
        assert observation.tolist() == [1, (step + 1) / 8, pays, *np.eye(3)[arm]]
    assert env.step(np.int64(0))[2:4] == (False, True)


@pytest.mark.parametrize("n_arms", [2, 5])
def test_independent_arms_are_uniform_and_do_not_depend_on_each_other(n_arms: int) -> None:
    batch = BanditBatch(N_ROWS, n_arms=n_arms)
    batch.reset(seed=1)
    p = batch.probabilities
    assert p.shape == (N_ROWS, n_arms)
    for arm in range(n_arms):
        share = np.histogram(p[:, arm], bins=10, range=(0, 1))[0] / N_ROWS
        np.testing.assert_allclose(share, 0.1, atol=4 * np.sqrt(0.09 / N_ROWS))
    correlation = np.corrcoef(p.T) - np.eye(n_arms)
    assert np.abs(correlation).max() < 4 / np.sqrt(N_ROWS)


def test_correlated_arms_add_up_to_one() -> None:
    batch = BanditBatch(N_ROWS, arms="correlated")
    batch.reset(seed=1)
    p = batch.probabilities
    np.testing.assert_array_equal(p[:, 1], 1 - p[:, 0])
    share = np.histogram(p[:, 0], bins=10, range=(0, 1))[0] / N_ROWS
    np.testing.assert_allclose(share, 0.1, atol=4 * np.sqrt(0.09 / N_ROWS))


def test_either_arm_of_a_pair_is_the_better_one() -> None:
    batch = BanditBatch(N_ROWS, arms="pair", pair_probability=0.75)
    batch.reset(seed=1)
    p = batch.probabilities
    assert {tuple(row) for row in p.tolist()} == {(0.75, 0.25), (0.25, 0.75)}
    assert (p[:, 0] == 0.75).mean() == pytest.approx(0.5, abs=2 / np.sqrt(N_ROWS))


def test_an_arm_pays_as_often_as_its_probability_says() -> None:
    """Otherwise the reward depends on something else, or the arms change within an episode."""
    batch = BanditBatch(4, n_arms=4, episode_length=5000)
    batch.reset(seed=3)
    before = batch.probabilities
    paid = np.array([batch.step(np.arange(4))[1] for _ in range(4999)])
    np.testing.assert_array_equal(batch.probabilities, before)
    expected = before[np.arange(4), np.arange(4)]
    np.testing.assert_allclose(paid.mean(axis=0), expected, atol=4 * 0.5 / np.sqrt(4999))
    batch.reset()
    assert (batch.probabilities != before).all()


@cache
def bayes_reward(left: int, s0: int = 0, f0: int = 0, s1: int = 0, f1: int = 0) -> Fraction:
    """Bayes-optimal reward of the last ``left`` pulls of two independent arms, exactly."""
    if not left:
        return Fraction(0)
    counts = (s0, f0, s1, f1)
    values = []
    for success in (0, 2):
        s, f = counts[success : success + 2]
        pays = Fraction(s + 1, s + f + 2)
        won, lost = list(counts), list(counts)
        won[success] += 1
        lost[success + 1] += 1
        values.append(
            pays * (1 + bayes_reward(left - 1, *won)) + (1 - pays) * bayes_reward(left - 1, *lost)
        )
    return max(values)


@pytest.mark.parametrize("n_pulls", [1, 2, 3, 10])
def test_the_optimum_of_two_arms_is_that_of_exact_dynamic_programming(n_pulls: int) -> None:
    """With one pull it is 1/2. With two it is 1/2 + (1/2 (2/3) + 1/2 (1/2)) = 13/12."""
    policy = OptimalTwoArms(n_pulls)
    exact = bayes_reward(n_pulls)
    assert policy.expected_reward == pytest.approx(float(exact), rel=1e-12)
    if n_pulls <= 2:
        assert exact == [Fraction(1, 2), Fraction(13, 12)][n_pulls - 1]
    batch = BanditBatch(4 * N_ROWS, episode_length=n_pulls)
    assert_mean(play(batch, policy).rewards.sum(axis=0), float(exact))


def beats(s: int, f: int, other_s: int, other_f: int) -> float:
    """The probability that Beta(s + 1, f + 1) draws a larger number than the other arm's.

    The density of the one is integrated against the distribution of the other, which is that of
    order statistics: P(Y < x) = P(Bin(n, x) > other_s) with n = other_s + other_f + 1.
    """
    n = other_s + other_f + 1
    scale = factorial(s + f + 1) / (factorial(s) * factorial(f))
    return scale * sum(
        comb(n, j) * factorial(s + j) * factorial(f + n - j) / factorial(s + f + n + 1)
        for j in range(other_s + 1, n + 1)
    )


def thompson_reward(n_pulls: int) -> float:
    """The expected reward of Thompson sampling with two arms, by the probability of all counts."""
    total, weights = 0.0, {(0, 0, 0, 0): 1.0}
    for _ in range(n_pulls):
        later: dict[tuple[int, ...], float] = {}
        for counts, weight in weights.items():
            takes_first = beats(*counts)
            for success, taken in ((0, takes_first), (2, 1 - takes_first)):
                s, f = counts[success : success + 2]
                pays = (s + 1) / (s + f + 2)
                total += weight * taken * pays
                for place, share in ((success, pays), (success + 1, 1 - pays)):
                    after = tuple(count + (i == place) for i, count in enumerate(counts))
                    later[after] = later.get(after, 0.0) + weight * taken * share
        weights = later  # type: ignore[assignment]
    return total


def test_thompson_sampling_gets_what_its_probabilities_of_actions_give() -> None:
    """With two pulls it is 1/2 + (1/2 (2/3 (2/3) + 1/3 (1/2)) + 1/2 (1/3 (1/3) + 2/3 (1/2)))."""
    assert beats(1, 0, 0, 0) == pytest.approx(2 / 3)  # of the densities 2 x and 1
    by_hand = 1 / 2 + (4 / 9 + 1 / 6) / 2 + (1 / 9 + 1 / 3) / 2
    assert thompson_reward(2) == pytest.approx(by_hand)
    batch = BanditBatch(4 * N_ROWS, episode_length=10)
    assert_mean(play(batch, ThompsonSampling(2)).rewards.sum(axis=0), thompson_reward(10))


def test_two_independent_arms_pay_what_the_docstring_says() -> None:
    """Thompson sampling got 63.83, with a standard error of .05, in 200,000 other episodes."""
    policy = OptimalTwoArms(100)
    assert policy.expected_reward == pytest.approx(64.92, abs=0.005)
    batch = BanditBatch(N_ROWS)
    totals = {
        name: play(batch, player).rewards.sum(axis=0)
        for name, player in {
            "optimum": policy,
            "thompson": ThompsonSampling(2),
            "chance": RandomArms(2),
            "oracle": BestArm(batch),
        }.items()
    }
    assert_mean(totals["optimum"], policy.expected_reward)
    assert_mean(totals["thompson"], 63.83)
    assert_mean(totals["chance"], 50.0)
    assert_mean(totals["oracle"], 200 / 3)  # the mean of the larger one of two uniform numbers
    # The same arms and draws: the difference is known better than the totals.
    assert_mean(totals["optimum"] - totals["thompson"], 64.92 - 63.83)
    for text in ("| 2 independent ones | 50 | 64.92 | 66.67 |", "63.8 with 2 ", "74.9 with 5,"):
        assert text in str(Bandit.__doc__)


def test_five_arms_pay_what_the_docstring_says() -> None:
    batch = BanditBatch(N_ROWS, n_arms=5)
    assert_mean(play(batch, ThompsonSampling(5)).rewards.sum(axis=0), 74.9)
    assert_mean(play(batch, BestArm(batch)).rewards.sum(axis=0), 100 * 5 / 6)
    assert_mean(play(batch, RandomArms(5)).rewards.sum(axis=0), 50.0)


def correlated_reward(n_pulls: int) -> float:
    """The optimum: after t pulls, k of them in favor of the first arm, its mean is (k+1)/(t+2).

    With a uniform prior, every k from 0 to t is equally likely.
    """
    total = Fraction(0)
    for t in range(n_pulls):
        best = sum(max(k + 1, t - k + 1) for k in range(t + 1))
        total += Fraction(best, (t + 1) * (t + 2))
    return float(total)


def pair_reward(better: float, n_pulls: int) -> float:
    """The optimum: after t pulls, k of them in favor of the first arm, sum over both hypotheses."""
    total = 0.0
    for t in range(n_pulls):
        for k in range(t + 1):
            first = 0.5 * comb(t, k) * better**k * (1 - better) ** (t - k)
            second = 0.5 * comb(t, k) * better ** (t - k) * (1 - better) ** k
            total += max(first, second) * better + min(first, second) * (1 - better)
    return total


@pytest.mark.parametrize(
    ("options", "row"),
    [
        ({"arms": "correlated"}, "| correlated | 50 | 73.78 | 75 |"),
        (
            {"arms": "pair", "pair_probability": 0.9},
            "| pair, ``pair_probability`` 0.9 | 50 | 89.38 | 90 |",
        ),
        (
            {"arms": "pair", "pair_probability": 0.75},
            "| pair, ``pair_probability`` 0.75 | 50 | 74.00 | 75 |",
        ),
        (
            {"arms": "pair", "pair_probability": 0.6},
            "| pair, ``pair_probability`` 0.6 | 50 | 57.69 | 60 |",
        ),
    ],
)
def test_two_dependent_arms_pay_what_the_docstring_says(options: dict[str, Any], row: str) -> None:
    better = options.get("pair_probability")
    optimum = correlated_reward(100) if better is None else pair_reward(better, 100)
    assert row in str(Bandit.__doc__)
    stated = [float(cell) for cell in row.split("|")[2:5]]
    assert stated[1] == pytest.approx(optimum, abs=0.0051)
    batch = BanditBatch(N_ROWS, **options)
    assert_mean(play(batch, OptimalPair()).rewards.sum(axis=0), optimum)
    assert_mean(play(batch, RandomArms(2)).rewards.sum(axis=0), stated[0])
    assert_mean(play(batch, BestArm(batch)).rewards.sum(axis=0), stated[2])


@pytest.mark.parametrize("episode_length", [3, 10])
def test_a_policy_begins_anew_where_an_episode_does(episode_length: int) -> None:
    """Otherwise it uses in an episode what it learned of the arms of the one before."""
    batch = BanditBatch(50, episode_length=episode_length, autoreset_mode="SameStep")
    observation, _ = batch.reset(seed=0)
    policy, fresh = OptimalTwoArms(10), OptimalTwoArms(10)
    policy.reset(50)
    for step in range(3 * episode_length):
        if step % episode_length == 0:
            fresh.reset(50)
        action = policy.act(observation)
        np.testing.assert_array_equal(action, fresh.act(observation))
        observation, *_ = batch.step(action)


def test_an_optimal_policy_for_fewer_pulls_is_refused() -> None:
    """Otherwise it would read the actions of other counts."""
    with pytest.raises(ValueError, match=r"n_pulls must be.* got 3"):
        play(BanditBatch(2, episode_length=6), OptimalTwoArms(3))


@pytest.mark.parametrize("n_pulls", [0, 201, 2.5])
def test_an_optimal_policy_of_too_many_pulls(n_pulls: Any) -> None:
    """Otherwise it fills the memory."""
    with pytest.raises(ValueError, match=f"n_pulls must be.* from 1 to 200, got {n_pulls}"):
        OptimalTwoArms(n_pulls)


def test_thompson_sampling_is_seeded() -> None:
    batch = BanditBatch(20, n_arms=4)
    one, same, other = (play(batch, ThompsonSampling(4, seed)).actions for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_the_scene_shows_the_arms_and_the_last_pulls() -> None:
    """Otherwise a picture shows another probability, arm or reward."""
    env = Bandit(n_arms=3)
    env.reset(seed=0)
    state = env.get_state()

    def names() -> list[list[str]]:
        scene = env.scene()
        return [[scene.symbols[index].name for index in row] for row in scene.grid]

    env.set_state({**state, "probabilities": np.array([[0.0, 1.0, 0.3]])})
    for row, n_filled in enumerate([0, 10, 3]):
        bar = ["probability"] * n_filled + ["the rest to 1"] * (N_TILES - n_filled)
        assert names()[row] == ["background", *bar, "best arm" if row == 1 else "background"]
    assert all(name == "background" for row in names()[3:] for name in row)
    assert env.scene().caption == ""
    for arm, caption in ((0, "arm 1 did not pay"), (1, "arm 2 paid"), (1, "arm 2 paid")):
        env.step(np.int64(arm))
        assert env.scene().caption == caption
    env.step(np.int64(0))
    assert [row[0] for row in names()[:3]] == ["pulled", "background", "background"]
    first, second, third = (row[-5:-1] for row in names()[4:])
    assert first == ["not paid", "background", "background", "not paid"]
    assert second == ["background", "paid", "paid", "background"]
    assert third == ["background"] * 4
    for _ in range(N_RECENT):
        env.step(np.int64(1))
    assert names()[5][1:-1] == ["paid"] * N_RECENT
    assert set(names()[4]) == {"background"}


@pytest.mark.parametrize(
    ("options", "name", "right"),
    [
        ({"n_arms": 1}, "n_arms", "2 to 100"),
        ({"n_arms": 101}, "n_arms", "2 to 100"),
        ({"n_arms": 2.5}, "n_arms", "integer"),
        ({"n_arms": 3, "arms": "correlated"}, "n_arms", "2 with arms='correlated'"),
        ({"n_arms": 3, "arms": "pair", "pair_probability": 0.9}, "n_arms", "2 with arms='pair'"),
        ({"arms": "easy"}, "arms", "'independent', 'correlated', 'pair'"),
        ({"arms": "pair", "pair_probability": None}, "pair_probability", "greater than 0.5"),
        ({"arms": "pair", "pair_probability": 0.5}, "pair_probability", "greater than 0.5"),
        ({"arms": "pair", "pair_probability": 1.1}, "pair_probability", "at most 1"),
        ({"pair_probability": 0.9}, "pair_probability", "None, unless arms='pair'"),
        ({"pair_probability": 0.9, "arms": "correlated"}, "pair_probability", "None, unless"),
    ],
)
def test_bad_arguments(options: dict[str, Any], name: str, right: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be") as caught:
        Bandit(**options)
    assert right in str(caught.value)
    assert repr(options[name]) in str(caught.value)
