"""After a restore, every random generator continues exactly as before."""

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plasticrl.runs import RunError, get_rng_state, load_checkpoint, save_checkpoint, set_rng_state


@pytest.fixture(autouse=True)
def untouched_streams() -> Iterator[None]:
    before = get_rng_state()
    yield
    set_rng_state(before)


def draw() -> list[float]:
    """Numbers from every generator, also normal ones, because a generator stores a second one."""
    values = [random.random(), random.gauss(0, 1)]
    values += [float(np.random.random()), float(np.random.normal())]  # noqa: NPY002
    values += torch.randn(3).tolist() + torch.rand(3).tolist()
    if torch.cuda.is_available():
        values += torch.randn(3, device="cuda").tolist()
    return values


def numpy_state(**changes: Any) -> dict[str, Any]:
    return get_rng_state()["numpy"] | changes


def test_streams_go_on_through_a_checkpoint(tmp_path: Path) -> None:
    draw()  # an odd number of normal deviates, so that a spare one is part of the state
    path = save_checkpoint(tmp_path, 1, {"rng": get_rng_state()})
    expected = [draw() for _ in range(3)]
    set_rng_state(load_checkpoint(path)["rng"])
    assert [draw() for _ in range(3)] == expected


def test_states_of_absent_cuda_devices_are_left_out() -> None:
    state = get_rng_state()
    absent = torch.zeros(16, dtype=torch.uint8)
    expected = draw()
    set_rng_state({**state, "cuda": [*state["cuda"], absent]})
    assert draw() == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("python", None),
        ("python", {"version": 3, "words": torch.zeros(4), "gauss": None}),
        ("python", {"version": 9, "words": torch.zeros(625).long(), "gauss": None}),
        ("numpy", {}),
        ("numpy", numpy_state(key=torch.zeros(624, dtype=torch.complex64))),
        ("numpy", numpy_state(key=torch.full((624,), -1))),
        ("numpy", numpy_state(key=torch.zeros(()))),
        ("torch", torch.zeros(3, dtype=torch.uint8)),
        ("torch", "seed"),
        ("cuda", None),
    ],
)
def test_a_malformed_state_moves_nothing(key: str, value: Any) -> None:
    before = get_rng_state()
    with pytest.raises(RunError, match=r"random-number state is malformed|numpy\.key must be"):
        set_rng_state({**copy.deepcopy(before), key: value})
    expected = draw()
    set_rng_state(before)
    assert draw() == expected


def test_a_missing_stream_and_a_wrong_generator() -> None:
    state = get_rng_state()
    with pytest.raises(RunError, match="malformed: KeyError\\('torch'\\)"):
        set_rng_state({key: state[key] for key in state if key != "torch"})
    with pytest.raises(RunError, match="malformed"):
        set_rng_state({**state, "numpy": {**state["numpy"], "bit_generator": "PCG64"}})
