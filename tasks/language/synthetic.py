"""A language whose entropy can be computed: a Markov chain over a few words.

    P(word | word before) = softmax( sharpness * N(0, 1) ) along a row,    pi P = pi
    H = - sum_i pi_i sum_j P_ij log P_ij    nats a word (Shannon 1948, section 7)

No model can have a test perplexity below exp(H), but for the luck of a finite text.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from plasticrl.tasks.language.corpus import Corpus

N_WORDS = 30
SHARPNESS = 2.0
TRAIN, HELD_OUT = 200_000, 20_000
"""Tokens."""


class Chain(NamedTuple):
    """A Markov chain in equilibrium."""

    transitions: NDArray[np.float64]
    """P, (V, V): rows are the word before."""
    stationary: NDArray[np.float64]
    """pi, (V,)."""

    @property
    def entropy(self) -> float:
        """H, nats a word."""
        plogp = self.transitions * np.log(self.transitions)
        return float(-self.stationary @ plogp.sum(axis=1))


def chain(seed: int, n_words: int = N_WORDS) -> Chain:
    """A chain by its seed."""
    drawn = np.random.default_rng(seed).normal(size=(n_words, n_words))
    exponentials = np.exp(SHARPNESS * drawn)
    transitions = exponentials / exponentials.sum(axis=1, keepdims=True)
    # pi (P - 1) = 0 and sum pi = 1, in the least-squares sense: exact, as P is irreducible.
    equations = np.vstack([transitions.T - np.eye(n_words), np.ones(n_words)])
    stationary = np.linalg.lstsq(equations, np.eye(n_words + 1)[-1], rcond=None)[0]
    return Chain(transitions, stationary)


def synthetic(seed: int, max_words: int = N_WORDS) -> Corpus:
    """The corpus: parts of one long walk through the chain of a seed.

    Args:
        max_words: the chain has as many words, but not more than ``N_WORDS``.
    """
    source = chain(seed, min(max_words, N_WORDS))
    steps = np.random.default_rng([seed, 1]).random(TRAIN + 2 * HELD_OUT)
    cumulated = source.transitions.cumsum(axis=1)
    cumulated[:, -1] = 1.0  # which rounding may leave a little below
    word, walk = 0, []
    for step in steps:
        word = int(cumulated[word].searchsorted(step, side="right"))
        walk.append(word)
    text = torch.tensor(walk)
    train, valid, test = text[:TRAIN], text[TRAIN:-HELD_OUT], text[-HELD_OUT:]
    return Corpus(train, valid, test, tuple(f"w{number}" for number in range(len(cumulated))))
