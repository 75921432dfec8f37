"""The trace updates on a 2x2 example worked by hand, and what Oja's rule is known to find.

pre = (1/2, -1)    post = (1, 1/5)       D = post pre^T = |  1/2    -1  |
                                                          |  1/10  -1/5 |
H = |  4/5  -9/10 |       rate 1/2:      r D =            |  1/4   -1/2 |
    |   0    1/2  |                                       |  1/20  -1/10|
"""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from plasticrl.core import PlasticConnection, Plasticity
from plasticrl.core.modulation import Gates, Neuromodulator
from plasticrl.core.rules import BOUNDS, RULES


def tensor(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


PRE, POST = tensor([0.5, -1.0]), tensor([1.0, 0.2])
TRACE = tensor([0.8, -0.9], [0.0, 0.5])[None]
RATE = torch.tensor([0.5], dtype=torch.float64)
ELIGIBILITY = tensor([0.4, 0.0], [-0.2, 0.1])[None]


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)


def connection(eta: float = 0.25, **options: Any) -> PlasticConnection:
    """A 2x2 connection with the modulation 1/2, which the fan-out maps to 1/2 and -1."""
    built = PlasticConnection(2, 2, Plasticity(**options)).double()
    with torch.no_grad():
        if built.eta is not None:
            built.eta.fill_(eta)
        if isinstance(built.modulator, Neuromodulator):
            built.modulator.weight.zero_()
            built.modulator.bias.fill_(0.5)
            if built.modulator.fan_out is not None:
                built.modulator.fan_out.weight.copy_(tensor([1.0], [-1.0]))
                built.modulator.fan_out.bias.copy_(torch.tensor([0.0, -0.5]))
    return built


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        # H + r D
        ("none", tensor([1.05, -1.4], [0.05, 0.4])),
        # the same, cut at 1: the first row
        ("hard", tensor([1.0, -1.0], [0.05, 0.4])),
        # up by 1 - H, down by 1 + H: .8 + .25 x .2 = .85    -.9 - .5 x .1 = -.95
        #                             0 + .05 x 1 = .05       .5 - .1 x 1.5 = .35
        ("soft", tensor([0.85, -0.95], [0.05, 0.35])),
        # H / 2 + r D: .4 + .25, -.45 - .5; .05, .25 - .1
        ("decay", tensor([0.65, -0.95], [0.05, 0.15])),
    ],
)
def test_hebb_under_each_bound(bound: str, expected: Tensor) -> None:
    """Otherwise a bound differs from the papers'."""
    increment = RULES["hebb"](TRACE, PRE, POST)
    same(increment[0], tensor([0.5, -1.0], [0.1, -0.2]))
    same(BOUNDS[bound](TRACE, increment, RATE, 1.0)[0], expected)


def test_oja() -> None:
    """D = post (pre - post H), not post (pre - post w), nor without the square of post.

    Row 1: 1 (.5 - .8) = -.3, 1 (-1 + .9) = -.1; row 2: .2 (.5 - 0) = .1, .2 (-1 - .1) = -.22.
    """
    increment = RULES["oja"](TRACE, PRE, POST)
    same(increment[0], tensor([-0.3, -0.1], [0.1, -0.22]))
    same(BOUNDS["none"](TRACE, increment, RATE, 1.0)[0], tensor([0.65, -0.95], [0.05, 0.39]))


def test_delta() -> None:
    """D = (post - H p) p^T with p = pre / |pre|.

    For pre = (3, -4), p = (3/5, -4/5): H p = (.48 + .72, -.4) = (1.2, -.4), so the error is
    (-.2, .6). Row 1: -.2 p = (-.12, .16); row 2: .6 p = (.36, -.48).
    """
    increment = RULES["delta"](TRACE, tensor([3.0, -4.0]), POST)
    same(increment[0], tensor([-0.12, 0.16], [0.36, -0.48]))


def test_delta_corrects_what_the_trace_recalls() -> None:
    """After an update at rate 1, H p = post, so a second one of the same pair changes nothing."""
    drawn = torch.Generator().manual_seed(0)
    pre, post, trace = (
        torch.randn(shape, generator=drawn, dtype=torch.float64)
        for shape in ((3, 5), (3, 4), (3, 4, 5))
    )
    once = trace + RULES["delta"](trace, pre, post)
    key = pre / pre.norm(dim=1, keepdim=True)
    torch.testing.assert_close(torch.einsum("boi,bi->bo", once, key), post, rtol=0, atol=1e-14)
    twice = once + RULES["delta"](once, pre, post)
    torch.testing.assert_close(twice, once, rtol=0, atol=1e-14)


def test_delta_changes_nothing_where_pre_is_zero() -> None:
    """At the start of an episode pre is zero; its length must not divide by zero."""
    pre = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    increment = RULES["delta"](TRACE, pre, POST)
    increment.sum().backward()
    same(increment[0], tensor([0.0, 0.0], [0.0, 0.0]))
    assert pre.grad is not None
    assert pre.grad.isfinite().all()


def test_delta_is_stable_where_pre_is_long() -> None:
    """With the bare pre, the factor 1 - r |pre|^2 = -49 would make the trace explode."""
    pre, post = torch.full((1, 100), 10.0).double(), torch.ones(1, 2).double()
    trace = torch.zeros(1, 2, 100).double()
    for _ in range(50):
        trace = trace + 0.5 * RULES["delta"](trace, pre, post)
    assert trace.abs().max() < 1


def test_abcd() -> None:
    """D = a post pre + b pre + c post + d, entry by entry.

    With a = 2, b = 1, c = -1 and d = 1/2 everywhere, row 1: 1 + .5 - 1 + .5 = 1 and
    -2 - 1 - 1 + .5 = -3.5; row 2: .2 + .5 - .2 + .5 = 1 and -.4 - 1 - .2 + .5 = -1.1.
    """
    coefficients = torch.ones(4, 2, 2).double() * tensor([2.0], [1.0], [-1.0], [0.5])[:, None]
    same(RULES["abcd"](TRACE, PRE, POST, coefficients)[0], tensor([1.0, -3.5], [1.0, -1.1]))
    coefficients[:, 0, 1] = tensor([0.0, 0.0, 3.0, 0.0])  # each connection has its own
    same(RULES["abcd"](TRACE, PRE, POST, coefficients)[0], tensor([1.0, 3.0], [1.0, -1.1]))


def test_abcd_begins_near_hebbs_rule() -> None:
    """Otherwise the first episodes fill the trace with a constant."""
    torch.manual_seed(0)
    coefficients = PlasticConnection(50, 40, Plasticity(rule="abcd")).coefficients
    assert coefficients is not None
    assert coefficients.shape == (4, 40, 50)
    means = coefficients.detach().mean(dim=(1, 2))
    torch.testing.assert_close(means, torch.tensor([1.0, 0.0, 0.0, 0.0]), rtol=0, atol=2e-3)
    assert coefficients.detach().std(dim=(1, 2)).tolist() == pytest.approx([0.01] * 4, rel=0.1)


def test_the_hard_bound_is_at_the_chosen_clip() -> None:
    """H + r D, clipped at 1.2; only the entry -1.4 exceeds it."""
    options = connection(eta=0.5, clip=1.2)
    trace, _ = options.update(TRACE, None, PRE, POST, POST)
    same(trace[0], tensor([1.05, -1.2], [0.05, 0.4]))


def test_simple_modulation_takes_the_place_of_eta() -> None:
    """M = 1/2 gives the unbounded example; otherwise M is multiplied with eta."""
    options = connection(modulation="simple", modulator_activation="linear", bound="none")
    trace, eligibility = options.update(TRACE, None, PRE, POST, POST)
    same(trace[0], tensor([1.05, -1.4], [0.05, 0.4]))
    assert eligibility is None


def test_fan_out_is_by_target_neuron() -> None:
    """M_1 = M = 1/2, M_2 = -M - 1/2 = -1: rows of the trace, not its columns.

    Row 1 as without fan-out; row 2: 0 - .1, .5 + .2.
    """
    options = connection(
        modulation="simple", modulator_activation="linear", bound="none", fan_out=True
    )
    trace, _ = options.update(TRACE, None, PRE, POST, POST)
    same(trace[0], tensor([1.05, -1.4], [-0.1, 0.7]))


def test_retroactive_modulation_uses_the_eligibility_from_before_the_step() -> None:
    """H + E / 2 with the old E = ((.4, 0), (-.2, .1)); then E <- 3/4 E + 1/4 D.

    If E were updated first, the trace's first entry would be .8 + .425 / 2 = 1.0125, not 1.
    """
    options = connection(modulation="retroactive", modulator_activation="linear", bound="none")
    trace, eligibility = options.update(TRACE, ELIGIBILITY, PRE, POST, POST)
    same(trace[0], tensor([1.0, -0.9], [-0.1, 0.55]))
    assert eligibility is not None
    same(eligibility[0], tensor([0.425, -0.25], [-0.125, 0.025]))


def test_retroactive_oja_reads_the_trace() -> None:
    """E <- 3/4 E + 1/4 D with Oja's D above, in which w has no place."""
    options = connection(modulation="retroactive", modulator_activation="linear", rule="oja")
    _, eligibility = options.update(TRACE, ELIGIBILITY, PRE, POST, POST)
    assert eligibility is not None
    same(eligibility[0], tensor([0.225, -0.025], [-0.125, 0.02]))


def test_a_pair_of_modulators_is_a_difference_times_a_gain() -> None:
    """M = 3 (1/2 - 1/3) = 1/2 gives the unbounded example."""
    options = connection(
        modulation="simple", modulator_activation="linear", bound="none", modulator="pair"
    )
    assert isinstance(options.modulator, Neuromodulator)
    assert options.modulator.gain is not None
    assert options.modulator.gain.tolist() == [1.0]
    with torch.no_grad():
        options.modulator.bias.copy_(torch.tensor([1 / 2, 1 / 3], dtype=torch.float64))
        options.modulator.gain.fill_(3.0)
    trace, _ = options.update(TRACE, None, PRE, POST, POST)
    same(trace[0], tensor([1.05, -1.4], [0.05, 0.4]))


def test_a_squashed_eligibility_has_the_tanh_of_the_increment() -> None:
    """E <- 3/4 E + 1/4 tanh(D); the eligibility itself is not squashed."""
    options = connection(modulation="retroactive", eligibility_squash="tanh")
    _, eligibility = options.update(TRACE, ELIGIBILITY, PRE, POST, POST)
    assert eligibility is not None
    squashed = [[math.tanh(0.5), math.tanh(-1.0)], [math.tanh(0.1), math.tanh(-0.2)]]
    same(eligibility[0], 0.75 * ELIGIBILITY[0] + 0.25 * tensor(*squashed))


def test_gates_multiply_the_trace_before_the_increment_is_computed() -> None:
    """a = exp(-exp(A) softplus(s_a)) = 1/2 for exp(A) = ln 2 and softplus(s_a) = 1; b = 1/4.

    With Oja's rule, D = post (pre - post H / 2). Row 1: .5 - .4 = .1, -1 + .45 = -.55; row 2:
    .2 (.5 - 0) = .1, .2 (-1 - .2 x .25) = -.21. H / 2 + D / 4: .4 + .025, -.45 - .1375; .025,
    .25 - .0525. If D were computed from H itself, the first entry would be .4 - .075.
    """
    options = connection(modulation="gated", rule="oja", bound="none")
    gates = options.modulator
    assert isinstance(gates, Gates)
    with torch.no_grad():
        for parameter in gates.parameters():
            parameter.zero_()
        gates.log_decay.fill_(math.log(math.log(2)))
        gates.retention_gate[0].bias.fill_(math.log(math.e - 1))
        gates.rate_gate[0].bias.fill_(-math.log(3))  # sigmoid: 1/4
    same(gates.retention(POST)[0], torch.tensor([0.5], dtype=torch.float64))
    trace, _ = options.update(TRACE, None, PRE, POST, POST)
    same(trace[0], tensor([0.425, -0.5875], [0.025, 0.1975]))


@pytest.mark.parametrize("fan_out", [False, True])
def test_gates_begin_with_the_published_distribution(fan_out: bool) -> None:
    """exp(A) ~ U(0, 16); softplus(bias) is log-uniform in [.001, .1], with the median .01."""
    gates = [Gates(3, 5, fan_out) for _ in range(2000 if not fan_out else 400)]
    decay = torch.cat([each.log_decay.detach().exp() for each in gates])
    last = [each.retention_gate[-1].bias.detach() for each in gates]
    step = torch.nn.functional.softplus(torch.cat(last))
    assert len(decay) == len(step) == 2000
    assert 0 <= decay.min() < 0.1
    assert 15.9 < decay.max() <= 16
    assert decay.mean().item() == pytest.approx(8, abs=0.4)
    assert 0.00099 < step.min() < 0.00105
    assert 0.095 < step.max() < 0.1001
    assert step.median().item() == pytest.approx(0.01, rel=0.15)


def test_the_drive_is_of_fixed_and_plastic_weights() -> None:
    """(w + alpha H) x: with w = 1 and alpha = ((1, 2), (3, 4)), rows are outputs.

    Row 1: 1.8 x .5 - (1 - 1.8) = 1.7; row 2: 1 x .5 - 3 = -2.5.
    """
    plastic = connection()
    with torch.no_grad():
        plastic.weight.fill_(1.0)
        plastic.alpha.copy_(tensor([1.0, 2.0], [3.0, 4.0]))
    same(plastic(PRE, TRACE), tensor([1.7, -2.5]))


def test_the_gradient_of_the_soft_bound_at_zero_is_the_mean_of_both_slopes() -> None:
    """At d = 0 the one-sided slopes are 1 - H and 1 + H; any value but their mean, 1, is a bias.

    d is 0 at the first retroactive step of an episode, because the eligibility is zero.
    """
    delta = torch.zeros_like(TRACE, requires_grad=True)
    BOUNDS["soft"](TRACE, delta, torch.ones_like(RATE), 1.0).sum().backward()
    assert delta.grad is not None
    same(delta.grad, torch.ones_like(TRACE))


def test_oja_finds_the_principal_component() -> None:
    """A linear neuron with the inputs (2, 2) and (1/2, -1/2) in turn ends at (1, 1) / sqrt 2.

    There both increments vanish: (2, 2) gives y = |x|, x - y H = 0; the other gives y = 0.
    """
    inputs = tensor([2.0, 2.0], [0.5, -0.5])
    trace = tensor([0.9, -0.3])[None]
    for step in range(600):
        pre = inputs[step % 2][None]
        trace = trace + 0.05 * RULES["oja"](trace, pre, (trace @ pre[..., None])[..., 0])
    torch.testing.assert_close(trace[0], tensor([0.5**0.5, 0.5**0.5]), rtol=0, atol=1e-12)
