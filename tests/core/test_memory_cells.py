"""The cells ``fast_weights`` and ``stpn`` on small examples worked by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor

from plasticrl.core import Cell, build_cell


def tensor(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def with_zero_parameters(name: str, **options: Any) -> Cell[Any]:
    cell = build_cell(name, 1, **options).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
    return cell


def test_fast_weights_begin_as_published() -> None:
    """W = .05 I; the gain of the normalization is 1 and its bias 0."""
    cell = build_cell("fast_weights", 2, hidden_size=3)
    assert torch.equal(cell.connection.weight, 0.05 * torch.eye(3))
    assert (cell.norm.weight.tolist(), cell.norm.bias.tolist()) == ([1.0] * 3, [0.0] * 3)


@pytest.mark.parametrize(
    ("inner_steps", "trace", "expected"),
    [
        # d = (3, 1): LN gives (1, -1), ReLU (1, 0). H (1, 0) = 0, so x = (1, 0).
        (1, [[0.0, 0.0], [0.0, 0.0]], [1.0, 0.0]),
        # H (1, 0) = (0, 4), d + (0, 4) = (3, 5): LN gives (-1, 1), ReLU (0, 1).
        (1, [[0.0, 0.0], [4.0, 0.0]], [0.0, 1.0]),
        # A second inner step begins with (0, 1): H (0, 1) = 0, d = (3, 1) gives (1, 0) again.
        (2, [[0.0, 0.0], [4.0, 0.0]], [1.0, 0.0]),
    ],
)
def test_fast_weights(inner_steps: int, trace: list[list[float]], expected: list[float]) -> None:
    """Layer normalization of two numbers is (1, -1) or (-1, 1), up to its small epsilon.

    Then H <- .9 H + .5 x x^T.
    """
    cell: Any = with_zero_parameters("fast_weights", hidden_size=2, inner_steps=inner_steps)
    with torch.no_grad():
        cell.norm.weight.fill_(1.0)
        cell.input.bias.copy_(torch.tensor([3.0, 1.0]))
    state = cell.initial_state(1)._replace(trace=tensor(*trace)[None])
    output, after = cell(tensor([0.0]), state)
    torch.testing.assert_close(output, tensor(expected), rtol=0, atol=2e-5)
    product = torch.outer(output[0], output[0])
    torch.testing.assert_close(after.trace[0], 0.9 * tensor(*trace) + 0.5 * product)


def test_stpn() -> None:
    """One neuron, z = (u, x) = (1, 1/2), w + H = (3, 4) of length 5, b = -1.

    x = tanh((3 + 2) / 5 - 1) = 0, so H <- lambda H / 5 = (.5 x 1 / 5, .5 x 2 / 5). With b = 0,
    x = tanh(1), and gamma x z is added.
    """
    cell: Any = with_zero_parameters("stpn", hidden_size=1)
    with torch.no_grad():
        cell.connection.weight.copy_(tensor([2.0, 2.0]))
        cell.connection.retention.fill_(0.5)
        cell.connection.rate.fill_(0.1)
        cell.bias.fill_(-1.0)
    state = type(cell.initial_state(1))(tensor([0.5]), tensor([1.0, 2.0])[None])
    output, after = cell(tensor([1.0]), state)
    torch.testing.assert_close(output, tensor([0.0]))
    torch.testing.assert_close(after.trace[0], tensor([0.1, 0.2]))
    with torch.no_grad():
        cell.bias.zero_()
    output, after = cell(tensor([1.0]), state)
    expected = torch.tanh(tensor([1.0]))
    torch.testing.assert_close(output, expected)
    kept, added = tensor([0.1, 0.2]), 0.1 * expected.item() * tensor([1.0, 0.5])
    torch.testing.assert_close(after.trace[0], kept + added)


@pytest.mark.parametrize("name", ["fast_weights", "stpn"])
def test_without_alpha_nothing_is_remembered_in_the_matrix(name: str) -> None:
    """Otherwise ``--ablate-plasticity`` does not show what the matrix is worth."""
    torch.manual_seed(0)
    cell: Any = build_cell(name, 2, hidden_size=3)
    cell.connection.alpha.zero_()
    state = cell.initial_state(1)
    inputs = torch.ones(1, 2)
    other, _ = cell(inputs, state._replace(trace=torch.randn_like(state.trace)))
    assert torch.equal(cell(inputs, state)[0], other)
