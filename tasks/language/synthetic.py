"""A language of known entropy: a Markov chain over a few words.

    P(word | previous word) = softmax( sharpness * N(0, 1) ) along a row,    pi P = pi
    H = - sum_i pi_i sum_j P_ij log P_ij    nats per word (Shannon 1948, section 7)

No model can have an expected test perplexity below exp(H).
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from plasticrl.tasks.language.corpus import Corpus

N_WORDS = 30
SHARPNESS = 2.0
N_TRAIN, N_HELD_OUT = 200_000, 20_000
"""Number of tokens of the training text, and of the validation and test texts."""


class Chain(NamedTuple):
    """A Markov chain and its stationary distribution."""

    transitions: NDArray[np.float64]
    """P (V, V), with a row for each previous word."""
    stationary: NDArray[np.float64]
    """pi, (V,)."""

    @property
    def entropy(self) -> float:
        """H in nats per word."""
        plogp = self.transitions * np.log(self.transitions)
        return float(-self.stationary @ plogp.sum(axis=1))


def chain(seed: int, n_words: int = N_WORDS) -> Chain:
    """Make a random chain."""
    drawn = np.random.default_rng(seed).normal(size=(n_words, n_words))
    exponentials = np.exp(SHARPNESS * drawn)
    transitions = exponentials / exponentials.sum(axis=1, keepdims=True)
    # pi (P - 1) = 0 and sum pi = 1 have one exact solution, since P is irreducible.
    equations = np.vstack([transitions.T - np.eye(n_words), np.ones(n_words)])
    stationary = np.linalg.lstsq(equations, np.eye(n_words + 1)[-1], rcond=None)[0]
    return Chain(transitions, stationary)


def synthetic(seed: int, max_words: int = N_WORDS) -> Corpus:
    """Make a corpus of three consecutive parts of one random walk through a chain.

    Args:
        seed: the seed of the chain and of the walk.
        max_words: the number of words of the chain; at most ``N_WORDS`` are used.
    """
    markov_chain = chain(seed, min(max_words, N_WORDS))
    steps = np.random.default_rng([seed, 1]).random(N_TRAIN + 2 * N_HELD_OUT)
    cumulative = markov_chain.transitions.cumsum(axis=1)
    cumulative[:, -1] = 1.0  # rounding can leave it slightly below
    word, walk = 0, []
    for step in steps:
        word = int(cumulative[word].searchsorted(step, side="right"))
        walk.append(word)
    text = torch.tensor(walk)
    train, valid, test = text[:N_TRAIN], text[N_TRAIN:-N_HELD_OUT], text[-N_HELD_OUT:]
    return Corpus(train, valid, test, tuple(f"w{number}" for number in range(len(cumulative))))
