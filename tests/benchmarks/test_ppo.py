"""The comparison with sb3-contrib's RecurrentPPO: its plastic core, and its memory."""

import pytest
import torch
from benchmarks.memory import in_new_process
from benchmarks.ppo import CORES, FULL, Measured, Packed

from plasticrl.core import build_cell, sequence
from plasticrl.core.state import leaves

FLOAT_BYTES = 4
MB = 1e6


@pytest.mark.parametrize("name", CORES)
def test_a_packed_core_does_the_same(name: str) -> None:
    """Otherwise another net is compared: outputs and state of two chunks are those of one piece."""
    cell_name, options = CORES[name]
    cell = build_cell(cell_name, 3, hidden_size=4, **options)
    inputs = torch.randn(5, 2, 3)
    outputs, state = sequence(cell, inputs)
    packed = Packed(cell)
    zeros = torch.zeros(1, 2, packed.hidden_size)
    first, between = packed(inputs[:2], (zeros, zeros))
    second, after = packed(inputs[2:], between)
    torch.testing.assert_close(torch.cat([first, second]), outputs)
    numbers = torch.cat([leaf.flatten(1) for leaf in leaves(state)], dim=1)
    torch.testing.assert_close(torch.cat(after, dim=2)[0, :, : numbers.shape[1]], numbers)


@pytest.mark.slow
def test_a_plastic_core_takes_a_fifth_of_the_memory() -> None:
    """Otherwise RecurrentPPO stores a trace of 200 x 200 numbers at more steps than the first."""
    size = FULL._replace(n_epochs=1, n_timed=0)
    ours, theirs = (
        Measured(*in_new_process("benchmarks.ppo", library, "plastic_rnn", size, 1))
        for library in ("plasticrl", "sb3-contrib")
    )
    state = size.n_envs * (size.n_neurons + size.n_neurons**2) * FLOAT_BYTES / MB
    assert ours.states == pytest.approx(state)
    # sb3-contrib stores a state for the actor and one for the critic, also if they are the same.
    assert theirs.states == pytest.approx(2 * size.n_steps * state)
    assert ours.memory * 5 < theirs.memory
