"""A plastic RNN that begins each trial with zero activity and eligibility, and keeps its trace."""

from typing import Any

import pytest
import torch

from plasticrl.core import OptionError, build_cell, sequence
from plasticrl.core.population import Population

SQUASHED = {"modulation": "retroactive", "modulator": "pair", "eligibility_squash": "tanh"}


def make(**options: Any) -> Any:
    torch.manual_seed(0)
    known = {"hidden_size": 4, "weight_scale": 0.5, "alpha_scale": 0.5, "trial_input": 1}
    return build_cell("plastic_rnn", 3, **{**known, **options}).double()


def inputs_with_trials(n_steps: int, trial_length: int, n_rows: int = 2) -> torch.Tensor:
    """Inputs whose number 1 is not zero, and negative, where a trial starts."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(n_steps, n_rows, 3, generator=generator, dtype=torch.float64)
    inputs[..., 1] = 0.0
    inputs[::trial_length, :, 1] = -1.0
    return inputs


def test_the_first_two_steps_of_a_trial_write_nothing() -> None:
    """Miconi & Kay 2025: step 3 of a trial is the first that changes the trace, by step 2's D.

    At step 1 the activity before is zero, so D is zero; step 2 has an eligibility of zero.
    """
    cell, inputs = make(**SQUASHED), inputs_with_trials(8, 4)
    state, changes = cell.initial_state(2), []
    for step in inputs:
        before = state.trace
        _, state = cell(step, state)
        changes.append((state.trace - before).abs().max().item())
    assert [change > 0 for change in changes] == [False, False, True, True] * 2


@pytest.mark.parametrize("options", [{}, {"modulation": "simple"}, SQUASHED])
def test_a_trial_begins_as_if_activity_and_eligibility_were_replaced(options: Any) -> None:
    """Otherwise something crosses the start of a trial, or the trace does not."""
    cell, inputs = make(**options), inputs_with_trials(6, 3)
    inputs[3, 1, 1] = 0.0  # the second trial starts in row 0 only
    whole, _ = sequence(cell, inputs)
    _, state = sequence(cell, inputs[:3])
    keeps = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    changed = {"hidden": state.hidden * keeps}
    if state.eligibility is not None:
        changed["eligibility"] = state.eligibility * keeps.unsqueeze(2)
    rest, _ = sequence(cell, inputs[3:], state._replace(**changed))
    torch.testing.assert_close(rest, whole[3:], rtol=0, atol=1e-12)
    assert not torch.allclose(rest[0], sequence(make(trial_input=None, **options), inputs)[0][3])


def test_a_population_starts_the_trials_of_each_net() -> None:
    nets = [make(), make()]
    torch.nn.init.normal_(nets[1].connection.weight)
    inputs = inputs_with_trials(6, 3, n_rows=4)
    outputs, _ = sequence(Population(nets), inputs)
    for number, net in enumerate(nets):
        rows = slice(2 * number, 2 * number + 2)
        expected, _ = sequence(net, inputs[:, rows])
        torch.testing.assert_close(outputs[:, rows], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trial_input": 3}, "trial_input must be below input_size=3, not 3"),
        ({"trial_input": -1}, "trial_input must be an integer of at least 0, not -1"),
        ({"trial_input": True}, "trial_input must be an integer of at least 0, not True"),
        ({"num_layers": 2}, "trial_input needs input_mode='weights' and num_layers=1"),
        ({"input_mode": "additive", "hidden_size": 3}, "trial_input needs input_mode='weights'"),
    ],
)
def test_a_trial_input_that_cannot_be(options: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make(**options)
