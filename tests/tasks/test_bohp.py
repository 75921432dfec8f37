"""The 2016 paper's layer, its derivatives by hand, and its three problems."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from plasticrl.tasks.bohp.config import BohpConfig
from plasticrl.tasks.bohp.gradient import derivatives
from plasticrl.tasks.bohp.task import N_BITS, REVERSAL, Bohp, BoundedRMSprop, PlasticLayer
from plasticrl.tasks.episodes import generator

TOLERANCE = 1e-9


@pytest.mark.parametrize("retention", [0.0, 0.5, 0.98])
def test_the_derivatives_by_hand_equal_autograd(retention: float) -> None:
    """Otherwise one of the two learns something else than the paper."""
    torch.manual_seed(0)
    layer = PlasticLayer(5, 3, retention, plastic=True).double()
    torch.nn.init.normal_(layer.connection.weight)
    torch.nn.init.normal_(layer.connection.alpha)
    assert layer.connection.eta is not None
    layer.connection.eta.fill_(1 - retention)  # which was rounded to single precision
    weight, alpha = layer.connection.weight, layer.connection.alpha
    inputs = torch.randn(7, 4, 5, dtype=torch.float64)
    upstream = torch.randn(7, 4, 3, dtype=torch.float64)
    outputs = layer(inputs)
    by_autograd = torch.autograd.grad(outputs, [weight, alpha], upstream)
    by_hand = derivatives(weight.detach(), alpha.detach(), retention, inputs)
    assert (by_hand.outputs - outputs).abs().max() < TOLERANCE
    for expected, series in zip(by_autograd, (by_hand.by_weight, by_hand.by_alpha), strict=True):
        gradient = torch.einsum("tbj,tbjk->jk", upstream, series)
        assert (gradient - expected).abs().max() < TOLERANCE


def classification(problem: str) -> tuple[Tensor, Tensor, Tensor]:
    task = Bohp(BohpConfig(problem=problem))  # type: ignore[arg-type]
    return tuple(task.sample(200, generator(0, "cpu"), held_out=False))  # type: ignore[return-value]


def test_completion_shows_a_pattern_then_one_of_its_bits() -> None:
    """Otherwise there is nothing to complete, or too much is given."""
    inputs, target, counts = Bohp(BohpConfig()).sample(50, generator(0, "cpu"), held_out=False)
    assert torch.equal(inputs[0], target)
    assert torch.equal(inputs[1].abs().sum(dim=1), torch.ones(50))
    assert ((inputs[1] == target) | (inputs[1] == 0)).all()
    assert counts.tolist() == [False, True]


@pytest.mark.parametrize("problem", ["one-shot", "reversal"])
def test_a_pattern_keeps_its_label_until_the_reversal(problem: str) -> None:
    """Otherwise the answer cannot be known."""
    inputs, labels, counts = classification(problem)
    bits, shown = inputs[..., :N_BITS], inputs[..., N_BITS:]
    assert (bits[0] != bits[1]).any(dim=1).all()
    for t in range(len(inputs)):
        as_first = (bits[t] == bits[0]).all(dim=1)
        swapped = problem == "reversal" and t >= REVERSAL
        expected = torch.where(as_first != swapped, labels[0], labels[1])
        assert torch.equal(labels[t], expected)
    labelled = [0, 1] + ([REVERSAL, REVERSAL + 1] if problem == "reversal" else [])
    assert counts.logical_not().nonzero().flatten().tolist() == labelled
    assert (shown[counts] == 0).all()
    assert torch.equal(shown[labelled], F.one_hot(labels[labelled], 2).float())
    assert 0 < labels[0].float().mean() < 1


def test_a_step_is_bounded_then_shrunk_and_alpha_stays_above_its_floor() -> None:
    """Otherwise a rare large gradient undoes the training, and the control can be negative."""
    free, floored = (torch.nn.Parameter(torch.tensor([0.05])) for _ in range(2))
    still = torch.nn.Parameter(torch.tensor([0.5, 0.01]))
    still.grad = torch.zeros(2)
    optimizer = BoundedRMSprop([free, floored, still], [floored], 10.0, max_step=0.1, shrink=0.02)
    (100 * free + 100 * floored).sum().backward()
    optimizer.step()
    assert free.item() == pytest.approx(0.05 - 0.1 + 0.02)
    assert floored.item() == 0.0
    assert still.tolist() == [pytest.approx(0.48), 0.0]  # towards zero, and never past it


def test_the_published_sizes() -> None:
    """Otherwise it is another net: 8 x 8 and 2 x 10 weights with as many alphas, and 2 x 2."""
    counts = []
    for problem in ("completion", "one-shot"):
        net = Bohp(BohpConfig(problem=problem)).nets()[0].build()  # type: ignore[arg-type]
        counts.append(sum(p.numel() for p in net.parameters() if p.requires_grad))
    assert counts == [128, 44]
