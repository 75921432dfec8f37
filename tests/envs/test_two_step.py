"""Two-step: trials by hand, the probabilities, optimum and chance, and how often agents stay."""

from typing import Any

import numpy as np
import pytest
from tests.envs.reference_play import play

from plasticrl.envs.reference import TwoStepFilter, stay_probabilities
from plasticrl.envs.two_step import TwoStep, TwoStepBatch

N_ROWS = 4000


class RandomChoices:
    """Chance."""

    def reset(self, n_rows: int) -> None:
        self.rng = np.random.default_rng(0)

    def act(self, observation: Any) -> Any:
        return self.rng.integers(0, 2, len(observation))


class KnowsTheBetterState:
    """The agent that sees what no observation shows."""

    def __init__(self, batch: TwoStepBatch) -> None:
        self.batch = batch

    def reset(self, n_rows: int) -> None:
        pass

    def act(self, observation: Any) -> Any:
        return self.batch.state.world.better - 1


class RepeatsWhatPaid:
    """An agent without a model: it repeats a rewarded choice and changes one that did not pay."""

    def reset(self, n_rows: int) -> None:
        self.choice = np.zeros(n_rows, dtype=np.int64)

    def act(self, observation: Any) -> Any:
        changes = (observation[:, 0] > 0) & (observation[:, 5] == 0)
        self.choice = np.where(changes, 1 - self.choice, self.choice)
        return self.choice


def assert_mean(per_row: Any, expected: float) -> None:
    """Check that a mean over rows is the expected one, within four standard errors."""
    assert per_row.mean() == pytest.approx(expected, abs=4 * per_row.std() / np.sqrt(len(per_row)))


def test_trials_by_hand() -> None:
    """With certain transitions and rewards nothing is random but the better state."""
    for better in (1, 2):
        env = TwoStep(
            common_probability=1, reward_probability=1, swap_probability=0, episode_length=8
        )
        observation, _ = env.reset(seed=0)
        assert observation.tolist() == [1, 0, 0, 1, 0, 0, 0, 0]
        env.set_state({**env.get_state(), "better": np.array([better])})
        steps = [env.step(np.int64(action)) for action in (0, 1, 1, 1, 1, 0, 0, 0)]
        states = [0, 1, 0, 2, 0, 2, 0, 1, 0]
        paid = [0, better == 1, 0, better == 2, 0, better == 2, 0, better == 1]
        assert [step[1] for step in steps] == paid
        for t, (action, step) in enumerate(zip((0, 1, 1, 1, 1, 0, 0, 0), steps, strict=True)):
            history = [(t + 1) / 8, paid[t], *np.eye(2)[action]]
            assert step[0].tolist() == [*np.eye(3)[states[t + 1]], 1, *history]
            assert step[2:4] == (False, t == 7)


def test_states_that_swap_every_time() -> None:
    """Otherwise the swap is at another step than the last one of a trial."""
    env = TwoStep(common_probability=1, reward_probability=1, swap_probability=1)
    env.reset(seed=0)
    env.set_state({**env.get_state(), "better": np.array([1])})
    rewards = [env.step(np.int64(0))[1] for _ in range(8)]
    assert rewards == [0, 1, 0, 0, 0, 1, 0, 0]


def test_every_event_is_as_likely_as_its_option_says() -> None:
    """Otherwise a probability is another one, or depends on the action, state or trial."""
    options = {"common_probability": 0.7, "reward_probability": 0.6, "swap_probability": 0.1}
    batch = TwoStepBatch(N_ROWS, **options, episode_length=30)
    batch.reset(seed=1)
    rng = np.random.default_rng(0)
    first = batch.state.world.better
    assert (first == 1).mean() == pytest.approx(0.5, abs=2 / np.sqrt(N_ROWS))
    events: dict[str, list[Any]] = {"common": [], "paid": [], "swapped": []}
    cases: list[Any] = []
    for _ in range(10):
        choice = rng.integers(0, 2, N_ROWS)
        better = batch.state.world.better
        seen, rewards, *_ = batch.step(choice)
        reached = seen[:, :3].argmax(axis=1)
        assert not rewards.any()
        assert (reached > 0).all()
        np.testing.assert_array_equal(batch.state.world.better, better)
        _, rewards, *_ = batch.step(rng.integers(0, 2, N_ROWS))
        events["common"].append(reached == choice + 1)
        events["paid"].append(np.where(reached == better, rewards, 1 - rewards))
        events["swapped"].append(batch.state.world.better != better)
        cases.append(4 * choice + 2 * (reached - 1) + (better - 1))
    case = np.array(cases)
    for name, option in (("paid", "reward"), ("swapped", "swap")):
        happened = np.array(events[name])
        for k in range(8):
            p, n = options[f"{option}_probability"], (case == k).sum()
            assert happened[case == k].mean() == pytest.approx(p, abs=4 * np.sqrt(0.25 / n))
    common = np.array(events["common"])
    for choice in range(2):
        for better in range(2):
            which = (case >> 2 == choice) & (case & 1 == better)
            share = common[which].mean()
            assert share == pytest.approx(0.7, abs=4 * np.sqrt(0.25 / which.sum()))
    # Two events of a trial do not share a random number.
    pairs = np.corrcoef([np.array(events[name]).ravel() for name in events])
    assert np.abs(pairs - np.eye(3)).max() < 4 / np.sqrt(case.size)


def optimum(common: float, reward: float, swap: float, n_trials: int) -> float:
    """The expected reward per trial of the best choices, by dynamic programming over beliefs.

    With b the probability that S1 is the better state, the best choice reaches the better state
    with probability x = c max(b, 1 - b) + (1 - c) min(b, 1 - b). What is learned of b does not
    depend on the choice: the evidence is for S1 with probability y = b q + (1 - b) (1 - q). The
    value of a belief is interpolated between those of a grid.
    """
    b = np.linspace(0, 1, 4001)
    more, less = np.maximum(b, 1 - b), np.minimum(b, 1 - b)
    x = common * more + (1 - common) * less
    pays = reward * x + (1 - reward) * (1 - x)
    y = b * reward + (1 - b) * (1 - reward)
    up, down = (
        p * (1 - swap) + (1 - p) * swap for p in (b * reward / y, b * (1 - reward) / (1 - y))
    )
    value = np.zeros_like(b)
    for _ in range(n_trials):
        value = pays + y * np.interp(up, b, value) + (1 - y) * np.interp(down, b, value)
    return float(value[2000]) / n_trials


def test_one_trial_is_worth_one_half_and_two_are_worth_more() -> None:
    """The optimum by hand: without swaps, b is q or 1 - q after one trial."""
    assert optimum(0.8, 0.9, 0.025, 1) == pytest.approx(0.5)
    x = 0.8 * 0.9 + 0.2 * 0.1
    second = 0.9 * x + 0.1 * (1 - x)
    assert optimum(0.8, 0.9, 0.0, 2) == pytest.approx((0.5 + second) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 0.706),
        ({"common_probability": 0.9, "swap_probability": 0.1}, 0.703),
        ({"common_probability": 0.7, "reward_probability": 0.75}, None),
    ],
)
def test_the_filter_gets_the_optimum(options: dict[str, float], expected: float | None) -> None:
    """Otherwise an agent is compared with a reward that it cannot reach, or can exceed."""
    batch = TwoStepBatch(N_ROWS, **options)  # type: ignore[arg-type]
    c, q, s = batch.common_probability, batch.reward_probability, batch.swap_probability
    best = optimum(c, q, s, n_trials=100)
    assert expected is None or best == pytest.approx(expected, abs=0.0005)
    assert_mean(play(batch, TwoStepFilter(q, s)).rewards.sum(axis=0) / 100, best)
    knows = c * q + (1 - c) * (1 - q)
    assert_mean(play(batch, KnowsTheBetterState(batch)).rewards.sum(axis=0) / 100, knows)
    assert_mean(play(batch, RandomChoices()).rewards.sum(axis=0) / 100, 0.5)


def test_the_docstring_states_the_optimum_and_chance() -> None:
    assert optimum(0.8, 0.9, 0.025, 100) == pytest.approx(0.706, abs=0.0005)
    stated = " ".join(str(TwoStep.__doc__).split())
    assert "Chance, random choices, is .5 per trial" in stated
    assert "the optimum is .706 per trial" in stated
    assert f"would get {0.8 * 0.9 + 0.2 * 0.1:.2f}.".replace("0.", ".") in stated


def brute_force(evidence: list[bool], reward: float, swap: float) -> float:
    """P(S1 is the better state) after evidence for (True) or against it, over all histories."""
    n = len(evidence)
    weights = np.zeros(2)
    for history in np.ndindex(*[2] * (n + 1)):  # 0: S1 is the better state, at each trial
        p = 0.5
        for t in range(n):
            p *= reward if evidence[t] == (history[t] == 0) else 1 - reward
            p *= swap if history[t + 1] != history[t] else 1 - swap
        weights[history[-1]] += p
    return float(weights[0] / weights.sum())


def test_the_filter_is_bayes_rule_over_all_histories() -> None:
    """Otherwise its belief forgets a trial, or takes a step that has no reward for a trial."""
    batch = TwoStepBatch(30, swap_probability=0.2, episode_length=13)
    observation, _ = batch.reset(seed=2)
    policy, rng = TwoStepFilter(0.9, 0.2), np.random.default_rng(0)
    policy.reset(30)
    policy.act(observation)
    evidence: list[Any] = []
    for _ in range(6):
        seen, *_ = batch.step(rng.integers(0, 2, 30))
        policy.act(seen)
        after, rewards, *_ = batch.step(rng.integers(0, 2, 30))
        evidence.append((seen[:, 1] > 0) == (rewards > 0))
        chosen = policy.act(after)
        expected = [brute_force([bool(e[row]) for e in evidence], 0.9, 0.2) for row in range(30)]
        np.testing.assert_allclose(policy.belief, expected)
        np.testing.assert_array_equal(chosen, np.array(expected) < 0.5)


def test_the_filter_with_certain_rewards() -> None:
    """The first trial is a guess, which tells all. Then a common transition is a reward."""
    batch = TwoStepBatch(N_ROWS, reward_probability=1.0, swap_probability=0.0)
    totals = play(batch, TwoStepFilter(1.0, 0.0)).rewards.sum(axis=0)
    assert_mean(totals, 0.5 + 99 * 0.8)


def test_the_filter_refuses_what_the_environment_does() -> None:
    with pytest.raises(ValueError, match=r"reward_probability must be.*greater than 0\.5"):
        TwoStepFilter(0.5)
    with pytest.raises(ValueError, match="swap_probability must be"):
        TwoStepFilter(0.9, -0.1)


@pytest.mark.parametrize("episode_length", [4, 7])
def test_the_filter_begins_anew_where_an_episode_does(episode_length: int) -> None:
    """Otherwise rewards of one episode count in the next, in particular within a trial."""
    batch = TwoStepBatch(50, episode_length=episode_length, autoreset_mode="SameStep")
    observation, _ = batch.reset(seed=0)
    policy, fresh = TwoStepFilter(), TwoStepFilter()
    policy.reset(50)
    for step in range(4 * episode_length):
        if step % episode_length == 0:
            fresh.reset(50)
        action = policy.act(observation)
        np.testing.assert_array_equal(action, fresh.act(observation))
        np.testing.assert_array_equal(policy.belief, fresh.belief)
        observation, *_ = batch.step(action)


def test_stays_by_hand() -> None:
    """Trials of one row: up, common, paid; up, rare, not; down, common, not; up; an odd step."""
    observations = np.zeros((9, 1, 8), dtype=np.float32)
    for t, state in enumerate([0, 1, 0, 2, 0, 2, 0, 1, 0]):
        observations[t, 0, state] = 1
    actions = np.array([[0, 1, 0, 0, 1, 0, 0, 1, 1]]).T
    rewards = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 0.0]]).T
    shares = stay_probabilities(observations, actions, rewards)
    np.testing.assert_equal(shares, [[0.0, 1.0], [0.0, np.nan]])


def test_how_often_agents_stay() -> None:
    """Otherwise an agent with a model and one without could not be told apart.

    The filter always stays where the last trial spoke for its choice. Where it spoke against it,
    the filter stays if the trials before outweigh that, which is not the case with many swaps.
    """
    batch = TwoStepBatch(N_ROWS)
    (common_unpaid, common_paid), (rare_unpaid, rare_paid) = stay_probabilities(
        *play(batch, TwoStepFilter())
    )
    assert common_paid == rare_unpaid == 1.0
    assert rare_paid == pytest.approx(0.665, abs=0.01)
    assert common_unpaid == pytest.approx(0.665, abs=0.01)
    often = TwoStepBatch(N_ROWS, swap_probability=0.1, common_probability=0.9)
    shares = stay_probabilities(*play(often, TwoStepFilter(swap_probability=0.1)))
    np.testing.assert_array_equal(shares, [[0, 1], [1, 0]])
    shares = stay_probabilities(*play(batch, RepeatsWhatPaid()))
    np.testing.assert_array_equal(shares, [[0, 1], [0, 1]])
    np.testing.assert_allclose(stay_probabilities(*play(batch, RandomChoices())), 0.5, atol=0.01)


@pytest.mark.parametrize("better", [1, 2])
@pytest.mark.parametrize("choice", [0, 1])
@pytest.mark.parametrize("reached", [1, 2])
def test_the_scene_shows_the_trial(better: int, choice: int, reached: int) -> None:
    """Otherwise the agent, its choice or the better state is at another place."""
    env = TwoStep()
    env.reset(seed=0)
    env.set_state({**env.get_state(), "better": np.array([better])})

    def names() -> list[list[str]]:
        scene = env.scene()
        return [[scene.symbols[index].name for index in row] for row in scene.grid]

    states = ["better state", "worse state"][:: 1 if better == 1 else -1]
    assert [names()[row][5] for row in (1, 3)] == states
    assert names()[2][1] == "agent"
    assert env.scene().caption == "choose"
    env.step(np.int64(choice))
    env.set_state({**env.get_state(), "stage": np.array([reached])})
    assert names()[2 * reached - 1][4] == "agent"
    assert names()[2][1] == "floor"
    assert names()[2 * choice + 1][2] == ("chose up", "chose down")[choice]
    kind = "common" if reached == choice + 1 else "rare"
    assert env.scene().caption == f"a {kind} transition"


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("common_probability", 0.5, "greater than 0.5"),
        ("common_probability", 1.01, "at most 1"),
        ("reward_probability", 0.5, "greater than 0.5"),
        ("reward_probability", float("nan"), "finite"),
        ("swap_probability", -0.1, "at least 0"),
        ("swap_probability", 1.1, "at most 1"),
        ("swap_probability", "never", "number"),
    ],
)
def test_bad_arguments(name: str, value: Any, right: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be") as caught:
        TwoStep(**{name: value})
    assert right in str(caught.value)
    assert repr(value) in str(caught.value)
