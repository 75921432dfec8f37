"""The ideal observer of ``plasticrl.envs.transitive_inference``, to compare agents with.

    observer = IdealObserver(n_training_trials=20)
    observer.reset(n_rows)                    # at the start of new episodes in all rows
    actions = observer.act(observations)      # at every step, (B, 2 item_bits + 7) -> (B,)

It uses the observations alone, and it knows the task: before its observations all orders of the
items are equally likely, and the pairs of training trials are neighbors. So its belief is uniform
over all orders that agree with what it saw.

- After a training trial the two items are known to be neighbors, and which one is first. Items that
  are connected by such links form a block: a part of the order without gaps, all of whose inner
  order is known. An order that agrees with the training trials is any order of the blocks.
- So before any other trial, two items of the same block have a known order, and two items of
  different blocks are in either order with probability 1/2: exchanging the two blocks turns each
  order in which one is first into one in which the other is.
- In a training trial with items of different blocks, the two are the end of one block and the start
  of the other. If one of the items has a neighbor already, it is known at which end of its block it
  is, and so which block is first. If both are alone, it is unknown.
- After a test trial with items of different blocks, all of one block is known to be before all of
  the other one. Then an unknown order of two other blocks need not have probability 1/2. The answer
  is the order that more orders of all blocks agree with, which are counted.

With the linking and the sham schedule, it answers as an agent that knows only the standard one. The
links are those of neighbors too, so that the linking trials count as training trials. An agent that
knows the schedule does better, since all items of the first list come before those of the second.
"""

from functools import cache

import numpy as np

from plasticrl.envs.arrays import HostArray
from plasticrl.envs.transitive_inference import MAX_ITEMS


class IdealObserver:
    """Answers as most of the orders do that agree with the observations.

    Args:
        n_training_trials: trials in which the items are neighbors, those that link two lists
            included.
        item_bits: as in the environment.
    """

    def __init__(self, n_training_trials: int = 20, item_bits: int = 15) -> None:
        self.n_training_trials = n_training_trials
        self.item_bits = item_bits
        self.reset(0)

    def reset(self, n_rows: int) -> None:
        """Begin new episodes, of which nothing is known, in ``n_rows`` rows."""
        shape = (n_rows, MAX_ITEMS)
        self._trial = -1
        self._rows = np.arange(n_rows)
        self._items = np.full(shape, -1)  # the codes of the items, in the order of appearance
        self._block = np.tile(np.arange(MAX_ITEMS), (n_rows, 1))  # a number of each item's block
        self._before = np.zeros((*shape, MAX_ITEMS), dtype=np.bool_)  # whether i is before j
        self._pair = np.zeros((2, n_rows), dtype=np.int64)

    def act(self, observation: HostArray) -> HostArray:
        """Return the actions (B,) for observations (B, 2 item_bits + 7)."""
        n_bits = 2 * self.item_bits
        bits = observation[:, :n_bits].reshape(-1, 2, self.item_bits)
        if bits.any():
            self._trial += 1
            codes = (bits > 0) @ (1 << np.arange(self.item_bits))
            self._pair = np.stack([self._index(code) for code in codes.T])
        if observation[0, n_bits]:  # go
            return self._answer()
        reward, said_yes = observation[:, n_bits + 3], observation[:, n_bits + 6]
        if reward.any():
            self._learn((reward > 0) == (said_yes > 0))
        return np.zeros(len(observation), dtype=np.int64)

    def _index(self, codes: HostArray) -> HostArray:
        """(B,) the index of each row's item, which is the next free one if it is new."""
        known = self._items == codes[:, None]
        free = (self._items >= 0).sum(axis=1)
        index: HostArray = np.where(known.any(axis=1), known.argmax(axis=1), free)
        self._items[self._rows, index] = codes
        return index

    def _answer(self) -> HostArray:
        """(B,) 1 where item 1 is before item 2 in most of the orders."""
        (one, other), rows, before = self._pair, self._rows, self._before
        yes: HostArray = before[rows, one, other]
        no = before[rows, other, one]
        if self._trial < self.n_training_trials:
            one_is_end = before[rows, :, one].any(axis=1)  # of a block of two items or more
            other_is_start = before[rows, other].any(axis=1)
            yes = yes | (~no & (one_is_end | other_is_start))
            return yes.astype(np.int64)
        answer = yes.astype(np.int64)
        for row in np.flatnonzero(~(yes | no)).tolist():
            answer[row] = self._most_orders(row)
        return answer

    def _most_orders(self, row: int) -> bool:
        """Whether the block of item 1 is before that of item 2 in at least half of the orders."""
        seen = np.flatnonzero(self._items[row] >= 0)
        block, before = self._block[row], self._before[row]
        firsts = seen[np.unique(block[seen], return_index=True)[1]]  # an item of each block
        earlier = tuple(
            sum(1 << i for i, other in enumerate(firsts) if before[other, item]) for item in firsts
        )
        one, other = (
            int(np.flatnonzero(block[firsts] == block[item])[0]) for item in self._pair[:, row]
        )
        given = list(earlier)
        given[other] |= 1 << one
        return 2 * n_orders(tuple(given)) >= n_orders(earlier)

    def _learn(self, one_is_first: HostArray) -> None:
        """Store that item 1 is before item 2 where ``one_is_first`` (B,), else the opposite."""
        rows, (one, other) = self._rows, self._pair
        first, second = np.where(one_is_first, one, other), np.where(one_is_first, other, one)
        in_first = self._block == self._block[rows, first][:, None]
        in_second = self._block == self._block[rows, second][:, None]
        different = self._block[rows, first] != self._block[rows, second]
        earlier = (in_first | self._before[rows, :, first]) & different[:, None]
        later = in_second | self._before[rows, second]
        self._before |= earlier[:, :, None] & later[:, None]
        if self._trial < self.n_training_trials:
            self._block = np.where(in_second, self._block[rows, first][:, None], self._block)


@cache
def n_orders(earlier: tuple[int, ...]) -> int:
    """Count the orders of n things in which each comes after those that have to be earlier.

    Args:
        earlier: for each thing, the set of things that are before it, as the bits of an integer.
    """
    n = len(earlier)
    counts = [1] + [0] * (2**n - 1)  # of the ways to put a set of things first
    for placed, count in enumerate(counts):
        for thing, needed in enumerate(earlier):
            if not placed >> thing & 1 and needed & ~placed == 0:
                counts[placed | 1 << thing] += count
    return counts[-1]
