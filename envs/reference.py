"""Agents that are not trained, to compare trained ones with: optimal ones and Thompson sampling.

They know the rules of their environment and see no more than the observations. Each plays many rows
at once, which may be at different steps of their episodes:

    policy.reset(n_rows)
    action = policy.act(observation)    (B, features) -> (B,)

An observation without a previous action begins a new episode in its row, so that ``act`` can be
called at every step of a batch with autoreset.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs import arguments, bandit, two_step

MOST_PULLS = 200  # for which the optimum is computed: it takes 400 MB


class ReferencePolicy(Protocol):
    """An agent that plays many rows at once."""

    def reset(self, n_rows: int) -> None:
        """Begin ``n_rows`` rows, each with a new episode."""

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the actions (B,) after observations (B, features), one of each step."""


class _BanditPolicy:
    """Counts what each arm paid, which is all that can be learned of a bandit."""

    def __init__(self, n_arms: int) -> None:
        self.n_arms = arguments.integer("n_arms", n_arms, minimum=2)

    def reset(self, n_rows: int) -> None:
        """Begin ``n_rows`` rows, each with a new episode."""
        self.failures = np.zeros((n_rows, self.n_arms), dtype=np.int64)
        self.successes = np.zeros((n_rows, self.n_arms), dtype=np.int64)

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the arms (B,) to pull after observations (B, n_arms + 3), one of each step."""
        pulled = observation[:, bandit.ACTION :] > 0
        paid = observation[:, bandit.REWARD, None] > 0
        begins = ~pulled.any(axis=1)
        self.failures[begins] = self.successes[begins] = 0
        self.failures += pulled & ~paid
        self.successes += pulled & paid
        return self._chosen()

    def _chosen(self) -> NDArray[np.int64]:
        """The arms (B,) to pull."""
        raise NotImplementedError


class ThompsonSampling(_BanditPolicy):
    """Thompson sampling for ``plasticrl/Bandit-v0`` with independent arms.

    Each arm's probability is drawn from its posterior, Beta(successes + 1, failures + 1), and the
    arm with the largest one is pulled (Thompson 1933, Biometrika 25).

    Args:
        n_arms: number of arms.
        seed: of the draws.
    """

    def __init__(self, n_arms: int, seed: int = 0) -> None:
        super().__init__(n_arms)
        self._rng = np.random.default_rng(seed)

    def _chosen(self) -> NDArray[np.int64]:
        drawn = self._rng.beta(self.successes + 1, self.failures + 1)
        arms: NDArray[np.int64] = drawn.argmax(axis=1)
        return arms


class OptimalTwoArms(_BanditPolicy):
    """The Bayes-optimal agent for ``plasticrl/Bandit-v0`` with two independent arms.

    It is computed backwards from the episode's end. With s and f the successes and failures of the
    arms, m[a] = (s[a] + 1) / (s[a] + f[a] + 2), and V = 0 after the last pull,

        V(s, f) = max over a of  m[a] (1 + V(s + e[a], f)) + (1 - m[a]) V(s, f + e[a])

    Time and memory grow with the fourth power of ``n_pulls``: 100 pulls need 26 MB.

    Args:
        n_pulls: the episode's number of steps, at most 200.
    """

    expected_reward: float
    """Of an episode: V before the first pull."""

    def __init__(self, n_pulls: int) -> None:
        super().__init__(n_arms=2)
        self.n_pulls = n_pulls = arguments.integer("n_pulls", n_pulls, 1, MOST_PULLS)
        value = np.zeros((n_pulls + 1,) * 3)
        chosen = [np.zeros(value.shape, dtype=np.bool_)]
        for pulls in range(n_pulls - 1, -1, -1):
            first, second = _values_of_arms(pulls, value)
            value = np.maximum(first, second)
            chosen.append(second > first)
        self.expected_reward = float(value[0, 0, 0])
        self._chooses_second = np.concatenate([table.ravel() for table in chosen[::-1]])
        self._offsets = np.cumsum([0, *(np.arange(1, n_pulls + 1) ** 3)])

    def _chosen(self) -> NDArray[np.int64]:
        pulls = self.failures.sum(axis=1) + self.successes.sum(axis=1)
        if pulls.max() > self.n_pulls:
            raise ValueError(
                f"n_pulls must be the episode's number of steps, got {self.n_pulls} for an episode "
                f"of at least {pulls.max()}"
            )
        s0, f0, s1 = self.successes[:, 0], self.failures[:, 0], self.successes[:, 1]
        place = self._offsets[pulls] + (s0 * (pulls + 1) + f0) * (pulls + 1) + s1
        second: NDArray[np.bool_] = self._chooses_second[place]
        return second.astype(np.int64)


def _values_of_arms(
    pulls: int, after: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The values of pulling either arm after ``pulls`` pulls, by s[0], f[0] and s[1].

    f[1] is what is left of ``pulls``. Entries for which that is negative mean nothing, and no other
    entry depends on them.

    Args:
        pulls: number of pulls so far.
        after: (pulls + 2, pulls + 2, pulls + 2) V one pull later.
    """
    s0, f0, s1 = np.ogrid[: pulls + 1, : pulls + 1, : pulls + 1]
    pays = (s0 + 1) / (s0 + f0 + 2)
    first = pays * (1 + after[1:, :-1, :-1]) + (1 - pays) * after[:-1, 1:, :-1]
    pays = (s1 + 1) / (np.maximum(pulls - s0 - f0, 0) + 2)
    second = pays * (1 + after[:-1, :-1, 1:]) + (1 - pays) * after[:-1, :-1, :-1]
    return first, second


class OptimalPair(_BanditPolicy):
    """The Bayes-optimal agent for ``plasticrl/Bandit-v0`` with correlated arms, or with a pair.

    The probabilities of the two arms add up to 1, so that a success of one says the same as a
    failure of the other. No pull is more informative than another, and the arm that seems to be the
    better one is pulled (the first one where they are equal).
    """

    def __init__(self) -> None:
        super().__init__(n_arms=2)

    def _chosen(self) -> NDArray[np.int64]:
        for_first = self.successes[:, 0] + self.failures[:, 1]
        for_second = self.failures[:, 0] + self.successes[:, 1]
        return (for_second > for_first).astype(np.int64)


class TwoStepFilter:
    """The Bayes-optimal agent for ``plasticrl/TwoStep-v0``: a filter of which state is the better.

    With b the probability that S1 is the better state, q = ``reward_probability``, and s =
    ``swap_probability``, after each trial

        l = q if S1 was reached and paid, or S2 was reached and did not pay, else 1 - q
        b <- b l / (b l + (1 - b) (1 - l));    b <- b (1 - s) + (1 - b) s

    Both states say the same of b, so that it is optimal to choose the state that seems to be the
    better one (S1 where they are equal). The probability of a common transition does not matter.

    Args:
        reward_probability, swap_probability: those of the environment.
    """

    def __init__(self, reward_probability: float = 0.9, swap_probability: float = 0.025) -> None:
        self.reward_probability = arguments.number(
            "reward_probability", reward_probability, 0.5, 1.0, exclusive=True
        )
        self.swap_probability = arguments.number("swap_probability", swap_probability, maximum=1.0)

    def reset(self, n_rows: int) -> None:
        """Begin ``n_rows`` rows, each with a new episode."""
        self.belief = np.full(n_rows, 0.5)  # that S1 is the better state
        self._in_first = np.zeros(n_rows, dtype=np.bool_)  # S1 was reached in the last trial

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the actions (B,) after observations (B, 8), one of each step."""
        begins = ~(observation[:, two_step.ACTION :] > 0).any(axis=1)
        after_trial = (observation[:, 0] > 0) & ~begins
        paid = observation[after_trial, two_step.REWARD] > 0
        for_first = self._in_first[after_trial] == paid
        likelihood = np.where(for_first, self.reward_probability, 1 - self.reward_probability)
        first = self.belief[after_trial] * likelihood
        second = (1 - self.belief[after_trial]) * (1 - likelihood)
        belief = first / (first + second)
        self.belief[after_trial] = belief + self.swap_probability * (1 - 2 * belief)
        self.belief[begins] = 0.5
        self._in_first = observation[:, 1] > 0
        return (self.belief < 0.5).astype(np.int64)


def stay_probabilities(
    observations: NDArray[np.float32], actions: NDArray[np.int64], rewards: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Count how often an agent in ``plasticrl/TwoStep-v0`` repeats the choice of the trial before.

    Args:
        observations: (T, B, 8) what was observed before each action, in one episode of each row.
        actions: (T, B)
        rewards: (T, B) of the actions.

    Returns:
        (2, 2) the probability of staying; the first index is 0 after a common and 1 after a rare
        transition, the second one 0 after no reward and 1 after a reward. NaN where there was none.
    """
    n_trials = len(actions) // 2
    choice, paid = actions[: 2 * n_trials : 2], rewards[1 : 2 * n_trials : 2] > 0
    reached = observations[1 : 2 * n_trials : 2, :, 1:3].argmax(axis=2)
    kind = 2 * (reached != choice)[:-1] + paid[:-1]
    stays = choice[1:] == choice[:-1]
    stayed = np.bincount(kind[stays], minlength=4)
    total = np.bincount(kind.ravel(), minlength=4)
    share = np.full(4, np.nan)
    np.divide(stayed, total, out=share, where=total > 0)
    return share.reshape(2, 2)
