"""``TransitiveInferenceBatch``, compiled; see ``plasticrl.envs.transitive_inference``."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numba.extending import overload

from plasticrl.envs.compiled.batch import (
    JIT,
    advance,
    begin,
    integer,
    is_terminal,
    is_tuple_of,
    uniform,
    write_info,
    write_view,
)
from plasticrl.envs.transitive_inference import (
    CUES,
    FEEDBACK,
    GO,
    MAX_ITEMS,
    N_BLANKS,
    N_CANDIDATES,
    TRIAL_LENGTH,
    TransitiveInferenceBatch,
)


class Items(NamedTuple):
    """The tables and options of all rows."""

    agreement: np.ndarray
    views: np.ndarray
    item_bits: int
    most_agreement: int
    min_items: int
    max_items: int
    n_training_trials: int
    first_test_trial: int
    link_shift: int
    """The linking pair begins so many ranks before the second half; 0 in the standard schedule."""


def items_of(batch: TransitiveInferenceBatch) -> Items:
    """Return the tables and options of a batch."""
    return Items(
        agreement=batch._agreement,
        views=batch._views,
        item_bits=batch.item_bits,
        most_agreement=batch.most_agreement,
        min_items=batch.min_items,
        max_items=batch.max_items,
        n_training_trials=batch.n_training_trials,
        first_test_trial=batch.first_test_trial,
        link_shift={"standard": 0, "linking": 1, "sham": 3}[batch.schedule],
    )


@njit(**JIT)
def _draw_item(env, items, rank, key, counter):
    """Return the first candidate whose largest agreement with the items so far is the smallest."""
    best, smallest = np.int64(0), np.int64(env.item_bits + 1)
    for i in range(N_CANDIDATES):
        candidate = integer(uniform(key, counter, i + 1), np.int64(1) << env.item_bits)
        largest = np.int64(env.most_agreement)
        for other in range(rank):
            largest = max(largest, env.agreement[candidate ^ items[other]])
        if largest < smallest:
            best, smallest = candidate, largest
        if smallest == env.most_agreement:
            break
    return best


@njit(**JIT)
def _draw_pair(env, world, b, one, other):
    """Draw the pair of the trial that begins."""
    trial, n_items, pair = world.trial[b], world.n_items[b], world.pair[b]
    if trial >= env.first_test_trial:
        pair[0] = integer(one, n_items)
        pair[1] = integer(other, n_items - 1)
        pair[1] += pair[1] >= pair[0]
        return
    first, n_pairs, half = 0, n_items - 1, n_items >> 1
    if env.link_shift != 0:
        if trial >= env.n_training_trials:
            first, n_pairs = half - env.link_shift, 1
        elif trial >= env.n_training_trials >> 1:
            first, n_pairs = half, n_items - half - 1
        else:
            n_pairs = half - 1
    rank = first + integer(one, n_pairs)
    pair[0], pair[1] = rank + (other < 0.5), rank + (other >= 0.5)


@overload(begin, jit_options=JIT)
def _begin(env, world, b, key, counter):
    if not is_tuple_of(env, Items):
        return None

    def with_items(env, world, b, key, counter):
        n_items = env.min_items + integer(
            uniform(key, counter, 0), env.max_items - env.min_items + 1
        )
        items = world.items[b]
        for rank in range(MAX_ITEMS):
            items[rank] = _draw_item(env, items, rank, key, counter) if rank < n_items else -1
        world.n_items[b] = n_items
        world.pair[b, 0], world.pair[b, 1] = -1, -1
        world.trial[b], world.place[b], world.correct[b] = -1, TRIAL_LENGTH - N_BLANKS, 0

    return with_items


@overload(advance, jit_options=JIT)
def _advance(env, world, b, action, key, counter):
    if not is_tuple_of(env, Items):
        return None

    def with_items(env, world, b, action, key, counter):
        reward, place = 0.0, world.place[b]
        if place == GO:
            right = (action == 1) == (world.pair[b, 0] < world.pair[b, 1])
            reward = 1.0 if right else -1.0
            if right and world.trial[b] >= env.first_test_trial:
                world.correct[b] += 1
        if place == TRIAL_LENGTH - 1:
            world.place[b] = 0
            world.trial[b] += 1
            _draw_pair(env, world, b, uniform(key, counter, 0), uniform(key, counter, 1))
        else:
            world.place[b] = place + 1
        return reward

    return with_items


@overload(is_terminal, jit_options=JIT)
def _is_terminal(env, world, b):
    return (lambda env, world, b: False) if is_tuple_of(env, Items) else None


@overload(write_view, jit_options=JIT)
def _write_view(env, rows, world, b, out):
    if not is_tuple_of(env, Items):
        return None

    def with_items(env, rows, world, b, out):
        place, bits = world.place[b], env.item_bits
        index = 1 if place == GO else 0
        if place == FEEDBACK:
            index = 2 + rows.previous_action[b]
        view = env.views[index]
        for i in range(len(view)):
            out[i] = view[i]
        if place == CUES:
            for k in range(2):
                code = world.items[b, world.pair[b, k]]
                for i in range(bits):
                    out[k * bits + i] = ((code >> i) & 1) * 2 - 1
        return 2 * bits + 2

    return with_items


@overload(write_info, jit_options=JIT)
def _write_info(env, world, b, out):
    if not is_tuple_of(env, Items):
        return None

    def with_items(env, world, b, out):
        out[0] = world.correct[b]

    return with_items
