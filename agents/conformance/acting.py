"""Properties of acting: collecting rollouts, and ``predict``."""

from typing import Any

import numpy as np

from plasticrl.agents.conformance.streams import (
    N_STEPS,
    STREAMS,
    Stream,
    random_observations,
    starts_at,
)
from plasticrl.agents.conformance.subject import (
    N_ROLLOUTS,
    Rollouts,
    Subject,
    act,
    learn,
    stop_after,
)
from plasticrl.agents.conformance.verdict import (
    ROUNDING,
    VISIBLE,
    NotTestedError,
    judge,
    largest_difference,
)


def separate_environments(subject: Subject) -> str:
    """An environment's observations and episode ends do not affect the other environments."""
    before = _collect(subject, STREAMS)
    own, others = [], []
    for row in range(len(STREAMS)):
        changed = list(STREAMS)
        changed[row] = Stream(seed=10 + row, length=4)
        after = _collect(subject, tuple(changed))
        rest = np.arange(len(STREAMS)) != row
        for x, y in ((before.actions, after.actions), (before.values, after.values)):
            own.append(largest_difference(x[:, row], y[:, row]))
            others.append(largest_difference(x[:, rest], y[:, rest]))

    model = subject.build(STREAMS)
    obs = random_observations(0, shape=(N_STEPS, 3))
    starts = starts_at(0)
    first = act(model, obs, starts)
    for row in range(3):
        other_obs, other_starts = obs.copy(), starts.copy()
        other_obs[:, row] = random_observations(1, row, shape=(N_STEPS,))
        other_starts[[4, 7], row] = True
        second = act(model, other_obs, other_starts)
        rest = np.arange(3) != row
        own.append(largest_difference(first[:, row], second[:, row]))
        others.append(largest_difference(first[:, rest], second[:, rest]))
    if max(own) < VISIBLE:
        raise NotTestedError(
            f"other observations changed an environment's own actions by only {max(own):.1e}"
        )
    return judge(
        max(others) <= ROUNDING,
        "other observations and episode ends in one environment changed actions and values of the "
        f"others by at most {max(others):.1e}, its own by {max(own):.1e}",
    )


def reset(subject: Subject) -> str:
    """After a reset at any step, the policy acts as from the initial state."""
    model = subject.build(STREAMS)
    obs = random_observations(2, shape=(N_STEPS, 3))
    carried = act(model, obs, starts_at(0))
    with_reset, without_reset = [], []
    for step in range(1, N_STEPS):
        fresh = act(model, obs[step:], starts_at(0)[step:])
        row = step % 3
        again = act(model, obs, starts_at(0, step, row=row))[step:]
        with_reset.append(largest_difference(fresh[:, row], again[:, row]))
        without_reset.append(largest_difference(fresh, carried[step:]))
    if max(without_reset) < VISIBLE:
        raise NotTestedError(
            "the actions do not depend on the state: without any reset, they differ from those of "
            f"a fresh start by only {max(without_reset):.1e}"
        )

    for length in (3, 5, subject.n_steps):
        rollouts = _collect(subject, (Stream(0, length, repeats=True),))
        for array in (rollouts.actions, rollouts.values):
            for start in range(length, len(array), length):
                episode = array[start : start + length]
                with_reset.append(largest_difference(array[: len(episode)], episode))
    return judge(
        max(with_reset) <= ROUNDING,
        "actions and values after a reset differed from those of a fresh start by at most "
        f"{max(with_reset):.1e}, without the reset by {max(without_reset):.1e}",
    )


def batch_size(subject: Subject) -> str:
    """An environment in a batch gets the same actions and values as alone."""
    together = _collect(subject, STREAMS)
    differences = []
    for row, stream in enumerate(STREAMS):
        alone = _collect(subject, (stream,))
        differences.append(largest_difference(together.actions[:, row], alone.actions[:, 0]))
        differences.append(largest_difference(together.values[:, row], alone.values[:, 0]))
    model = subject.build(STREAMS)
    obs, starts = random_observations(3, shape=(N_STEPS, 5)), starts_at(0, 6, row=1, n_rows=5)
    actions = act(model, obs, starts)
    for row in range(5):
        rows = slice(row, row + 1)
        single = act(model, obs[:, rows], starts[:, rows])
        differences.append(largest_difference(actions[:, rows], single))
    return judge(
        max(differences) <= ROUNDING,
        "actions and values of a row differed from those of the same environment alone by at most "
        f"{max(differences):.1e}",
    )


def predict(subject: Subject) -> str:
    """``predict`` takes the same actions as the collection of rollouts."""
    model = subject.build_without_noise(STREAMS)
    learn(model, N_ROLLOUTS)
    difference = _difference_from_predict(model)
    return judge(
        difference <= ROUNDING,
        f"the actions of {N_ROLLOUTS} rollouts differed from those of predict by at most "
        f"{difference:.1e}",
    )


def stopped_by_callback(subject: Subject) -> str:
    """Training that a callback has stopped continues with the state of the stopped rollout."""
    seen = {}
    for when, n_steps in (("where an episode ended", 3), ("within the episodes", 4)):
        model = subject.build_without_noise(STREAMS)
        stop_after(model, n_steps)
        learn(model, 1, continues=True)
        seen[when] = _difference_from_predict(model)
    return judge(
        max(seen.values()) <= ROUNDING,
        "after the stop, the actions differed from those of predict on all observations and "
        "episode starts by at most "
        + " and ".join(f"{difference:.1e} (stopped {when})" for when, difference in seen.items()),
    )


def _collect(subject: Subject, streams: tuple[Stream, ...]) -> Rollouts:
    return learn(subject.build_without_noise(streams), N_ROLLOUTS)


def _difference_from_predict(model: Any) -> float:
    """The largest difference between the actions in the environments and those of ``predict``."""
    decisions = model.get_env().decisions
    obs, starts, actions = (np.stack(parts) for parts in zip(*decisions, strict=True))
    return largest_difference(actions, act(model, obs, starts))
