"""Recomputing the traces in segments gives the same results as the eager backend."""

from typing import Any
from unittest.mock import patch

import pytest
import torch
from tests.core.cases import Case

from plasticrl.core import build_cell, sequence
from plasticrl.core.backends import recomputed
from plasticrl.core.backends.eager import EAGER
from plasticrl.core.backends.traceless import TRACELESS
from plasticrl.core.cells.configs import PlasticLSTMConfig
from plasticrl.core.cells.plastic_lstm import PlasticLSTM

OPTIONS: tuple[dict[str, Any], ...] = (
    {"modulation": "retroactive", "fan_out": True, "clip": 0.3},
    {"rule": "oja", "bound": "none"},
    {"modulation": "simple", "bound": "soft", "alpha": "connection"},
)


def case(options: dict[str, Any], n_steps: int = 11) -> Case:
    torch.manual_seed(0)
    return Case(build_cell("plastic_lstm", 3, hidden_size=7, **options).double(), n_steps, 2, 0.2)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("n_steps", [1, 4, 11])
def test_it_equals_eager(options: dict[str, Any], n_steps: int) -> None:
    """Otherwise saving memory changes the net."""
    given = case(options, n_steps)
    expected = given.results(EAGER.run)
    for name, value in given.results(recomputed.RECOMPUTED.run).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12, msg=name)


class OwnLSTM(PlasticLSTM):
    """A cell that no faster backend supports, because its forward pass may be another."""


def test_it_is_chosen_where_the_traces_are_too_large() -> None:
    """Otherwise wide layers run out of memory, or narrow ones are recomputed needlessly."""
    torch.manual_seed(0)
    cell = OwnLSTM(3, PlasticLSTMConfig(hidden_size=7, **OPTIONS[0])).double()
    given = Case(cell, 11, 2, 0.2)
    with patch.object(recomputed, "checkpoint", wraps=recomputed.checkpoint) as again:
        sequence(given.cell, given.inputs)
        assert again.call_count == 0
        with patch.object(recomputed, "MIN_SIZE", 11 * 2 * 7**2):
            sequence(given.cell, given.inputs)
            assert again.call_count == 3
            with torch.no_grad():
                sequence(given.cell, given.inputs)
            assert again.call_count == 3
        with patch.object(recomputed, "MIN_SIZE", 11 * 2 * 7**2 + 1):
            sequence(given.cell, given.inputs)
            assert again.call_count == 3


def test_it_is_chosen_if_the_trace_may_reach_its_bound() -> None:
    """Otherwise a wide layer runs out of memory when its traces may reach their bound."""
    options = {"modulation": "simple", "clip": 0.01, "alpha": "neuron"}
    torch.manual_seed(0)
    given = Case(build_cell("plastic_lstm", 3, hidden_size=13, **options).double(), 11, 2, 0.0)
    with (
        patch.object(recomputed, "MIN_SIZE", 0),
        patch.object(recomputed, "checkpoint", wraps=recomputed.checkpoint) as again,
    ):
        TRACELESS.run(given.cell, given.inputs, given.cell.initial_state(2), None)
    assert again.call_count == 3
