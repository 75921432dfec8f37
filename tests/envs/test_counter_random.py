"""Counter-based random numbers against splitmix64's published sequence, and their uniformity."""

from typing import Any

import array_api_compat.numpy as xp
import array_api_compat.torch as torch_xp
import numpy as np
import pytest
import torch

from plasticrl.envs.counter_random import (
    DRAWS_PER_EVENT,
    GOLDEN,
    UniformsAhead,
    event_places,
    integers,
    mix,
    uniforms,
)


def draw(key: Any, counter: Any, n: int) -> Any:
    """Return the numbers (n, B) of one event in every row."""
    return uniforms(xp, key, counter, event_places(n))


def test_mix_is_splitmix64() -> None:
    """Otherwise the outputs are not the published ones for seed 1234567 (Rosetta Code)."""
    places = np.arange(1, 6, dtype=np.int64) * GOLDEN + 1234567
    assert mix(places).view(np.uint64).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_events_follow_each_other_in_the_sequence() -> None:
    """Otherwise event c does not draw elements 128 c + 1, 128 c + 2, ... of the sequence."""
    key = np.array([1234567], dtype=np.int64)
    for event in (0, 1, 5):
        places = np.arange(1, 4, dtype=np.int64) + event * DRAWS_PER_EVENT
        bits = mix(places * GOLDEN + 1234567).view(np.uint64) % 2**53
        got = draw(key, np.array([event]), 3)
        np.testing.assert_array_equal(got[:, 0], bits / 2**53)


def test_rows_draw_for_themselves() -> None:
    key = np.arange(50, dtype=np.int64) * 977
    counter = np.arange(50, dtype=np.int64) % 7
    together = draw(key, counter, 9)
    for row in range(50):
        alone = draw(key[row : row + 1], counter[row : row + 1], 4)
        np.testing.assert_array_equal(together[:4, row], alone[:, 0])


def test_numbers_are_uniform_and_independent() -> None:
    """Otherwise numbers of neighboring keys, events or draws would be uneven or correlated."""
    key, counter = (grid.ravel() for grid in np.indices((200, 50), dtype=np.int64))
    draws = draw(key, counter, 8).T
    assert draws.min() >= 0
    assert draws.max() < 1
    assert np.abs(np.histogram(draws, 10, (0, 1))[0] / draws.size - 0.1).max() < 0.005
    cube = draws.reshape(200, 50, 8) - 0.5
    for axis in range(3):
        moved = np.roll(cube, 1, axis=axis)
        assert abs((cube * moved).mean() * 12) < 0.015


def test_integers_cover_their_range() -> None:
    top = np.array([0.0, 1 - 2.0**-53])
    for n in (1, 3, 2**53, 2**52 + 1, 10**9 + 7):
        assert integers(xp, top, n).tolist() == [0, n - 1]


@pytest.mark.parametrize("n_rows", [1, 30, 5_000])
def test_drawn_ahead_is_drawn_now(n_rows: int) -> None:
    """Otherwise numbers kept ahead would be used after the counter or the key has changed."""
    rng = np.random.default_rng(0)
    draws = UniformsAhead(event_places(2), n_rows)
    key, counter = rng.integers(-(2**63), 2**63, n_rows), np.zeros(n_rows, dtype=np.int64)
    for step in range(300):
        numbers, following = draws(key, counter)
        np.testing.assert_array_equal(numbers, draw(key, counter, 2))
        np.testing.assert_array_equal(following, counter + 1)
        again = draws(key, counter)[0] if step % 50 == 10 else numbers
        np.testing.assert_array_equal(again, numbers)
        if step % 50 == 20:
            following = following + (np.arange(n_rows) == 0)
        if step % 50 == 30:
            key = key + 1
        counter = counter if step % 50 == 40 else following


def test_torch_draws_the_same_numbers() -> None:
    key = np.random.default_rng(0).integers(-(2**63), 2**63, 1_000)
    counter = np.arange(1_000) * 12_345
    on_torch = (torch.from_numpy(array) for array in (key, counter, event_places(34)))
    got = uniforms(torch_xp, *on_torch)
    assert got.numpy().tobytes() == draw(key, counter, 34).tobytes()
    cells = integers(torch_xp, got, 64)
    np.testing.assert_array_equal(cells.numpy(), integers(xp, got.numpy(), 64))
