"""Counter-based random numbers against splitmix64's published sequence, and their uniformity."""

import numpy as np

from plasticrl.envs.counter_random import DRAWS_PER_EVENT, GOLDEN, integers, mix, uniforms


def test_mix_is_splitmix64() -> None:
    """The first outputs for seed 1234567 (Rosetta Code, "Pseudo-random numbers/Splitmix64")."""
    places = np.arange(1, 6, dtype=np.int64) * GOLDEN + 1234567
    assert mix(places).view(np.uint64).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_events_follow_each_other_in_the_sequence() -> None:
    """Event c's draws are places 128 c + 1, 128 c + 2, ... of the key's sequence."""
    key = np.array([1234567], dtype=np.int64)
    for event in (0, 1, 5):
        places = np.arange(1, 4, dtype=np.int64) + event * DRAWS_PER_EVENT
        bits = mix(places * GOLDEN + 1234567).view(np.uint64) % 2**53
        got = uniforms(key, np.array([event]), 3)
        np.testing.assert_array_equal(got[0], bits / 2**53)


def test_rows_draw_for_themselves() -> None:
    key = np.arange(50, dtype=np.int64) * 977
    counter = np.arange(50, dtype=np.int64) % 7
    together = uniforms(key, counter, 9)
    for row in range(50):
        alone = uniforms(key[row : row + 1], counter[row : row + 1], 4)
        np.testing.assert_array_equal(together[row, :4], alone[0])


def test_numbers_are_uniform_and_independent() -> None:
    """Neighbouring keys, events and draws: even histogram, no correlation along any axis."""
    key, counter = (grid.ravel() for grid in np.indices((200, 50), dtype=np.int64))
    draws = uniforms(key, counter, 8)
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
        assert integers(top, n).tolist() == [0, n - 1]
