"""``CueRewardBatch``, compiled; see ``plasticrl.envs.cue_reward``."""

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
from plasticrl.envs.cue_reward import DIGIT_BITS, MAX_CUES, CueRewardBatch


class Cues(NamedTuple):
    """The tables and options of all rows."""

    digits: np.ndarray
    views: np.ndarray
    cue_bits: int
    one_hot: bool
    flip_probability: float
    n_lengths: int
    """The number of lengths that a trial can have; 0: as many as there are cues."""


def cues_of(batch: CueRewardBatch) -> Cues:
    """Return the tables and options of a batch."""
    most = batch.max_extra_blanks
    return Cues(
        digits=batch._digits,
        views=batch._views,
        cue_bits=batch.cue_bits,
        one_hot=batch.one_hot_cues,
        flip_probability=float(batch.reward_flip_probability),
        n_lengths=0 if most is None else most + 1,
    )


@njit(**JIT)
def _trial_length(env, n_cues, uniform):
    return (n_cues >> 1) + 3 + integer(uniform, n_cues if env.n_lengths == 0 else env.n_lengths)


@njit(**JIT)
def _draw_cues(env, codes, n_cues, key, counter):
    """Set ``codes`` (MAX_CUES,) to distinct codes, by Floyd's sampling, and -1 beyond them."""
    codes[:] = -1
    for i in range(n_cues):
        code = np.int64(i)
        if not env.one_hot:
            last = (np.int64(1) << env.cue_bits) - n_cues + i
            code = integer(uniform(key, counter, i + 2), last + 1)
            for k in range(i):
                if codes[k] == code:
                    code = last
                    break
        codes[i] = code


@njit(**JIT)
def _move_on(env, world, b, event, which):
    """Go to the next place, in a new trial after the last one, and draw what it shows."""
    n_cues, length, order = world.n_cues[b], world.length[b], world.order[b]
    place, shown, target_shown = world.place[b] + 1, world.shown[b], world.target_shown[b]
    going = place != length
    if not going:
        place, shown, target_shown = 0, 0, False
        length = _trial_length(env, n_cues, event)
    left, wanted = length - 2 - place, (n_cues >> 1) - shown
    cue = -1
    if going and event * abs(left) < wanted:
        pick = shown + integer(which, n_cues - shown)
        cue = order[pick]
        order[pick], order[shown] = order[shown], cue
        shown += 1
    world.place[b], world.length[b], world.shown[b], world.cue[b] = place, length, shown, cue
    world.target_shown[b] = target_shown or cue == world.target[b]


@overload(begin, jit_options=JIT)
def _begin(env, world, b, key, counter):
    if not is_tuple_of(env, Cues):
        return None

    def with_cues(env, world, b, key, counter):
        n_cues = world.next_n_cues[b]
        world.n_cues[b] = n_cues
        _draw_cues(env, world.cues[b], n_cues, key, counter)
        world.target[b] = integer(uniform(key, counter, 1), n_cues)
        world.length[b] = _trial_length(env, n_cues, uniform(key, counter, 0))
        for i in range(MAX_CUES):
            world.order[b, i] = i
        world.place[b], world.shown[b], world.cue[b], world.trials[b] = 0, 0, -1, 0
        world.target_shown[b] = False

    return with_cues


@overload(advance, jit_options=JIT)
def _advance(env, world, b, action, key, counter):
    if not is_tuple_of(env, Cues):
        return None

    def with_cues(env, world, b, action, key, counter):
        event, reward = uniform(key, counter, 0), 0.0
        if world.place[b] == world.length[b] - 2:
            paid = (action == 1) == world.target_shown[b]
            if env.flip_probability != 0:
                paid = paid != (event < env.flip_probability)
            reward = 1.0 if paid else -1.0
            world.trials[b] += 1
        _move_on(env, world, b, event, uniform(key, counter, 1))
        return reward

    return with_cues


@overload(is_terminal, jit_options=JIT)
def _is_terminal(env, world, b):
    return (lambda env, world, b: False) if is_tuple_of(env, Cues) else None


@overload(write_view, jit_options=JIT)
def _write_view(env, rows, world, b, out):
    if not is_tuple_of(env, Cues):
        return None

    def with_cues(env, rows, world, b, out):
        go = world.place[b] == world.length[b] - 2
        view = env.views[(3 if go else 0) + rows.previous_action[b]]
        for i in range(len(view)):
            out[i] = view[i]
        if world.cue[b] >= 0:
            code = world.cues[b, world.cue[b]]
            for i in range(env.cue_bits):
                if env.one_hot:
                    out[i] = env.digits[code, i]
                else:
                    digit = (code >> (i - i % DIGIT_BITS)) & (2**DIGIT_BITS - 1)
                    out[i] = env.digits[digit, i % DIGIT_BITS]
        return env.cue_bits + 2

    return with_cues


@overload(write_info, jit_options=JIT)
def _write_info(env, world, b, out):
    if not is_tuple_of(env, Cues):
        return None

    def with_cues(env, world, b, out):
        out[0] = world.trials[b]

    return with_cues
