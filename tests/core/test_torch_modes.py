"""``sequence`` where torch compiles, traces, exports, transforms, or changes the precision."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from plasticrl.core import build_cell, sequence
from plasticrl.core.backends import choose
from plasticrl.core.backends.eager import EAGER

CORES = ("plastic_rnn", "plastic_lstm", "lstm", "gru", "rnn")
every_core = pytest.mark.parametrize("core", CORES)


class Net(nn.Module):
    def __init__(self, core: str) -> None:
        super().__init__()
        self.core = build_cell(core, 4, hidden_size=8)

    def forward(self, inputs: Tensor, starts: Tensor) -> Tensor:
        return sequence(self.core, inputs, episode_starts=starts)[0]


def arguments(seed: int) -> tuple[Tensor, Tensor]:
    """Inputs (5, 2, 4) and episode starts (5, 2)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(5, 2, 4, generator=generator), torch.rand(5, 2, generator=generator) < 0.4


def eager(net: Net, inputs: Tensor, starts: Tensor) -> Tensor:
    return sequence(net.core, inputs, episode_starts=starts, backend="eager")[0]


@every_core
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch.compile's own
def test_compiled(core: str) -> None:
    """Otherwise ``torch.compile`` fails, although it works with ``torch.nn.LSTM``."""
    torch._dynamo.reset()
    net = Net(core)
    compiled = torch.compile(net, backend="eager")
    for seed in (0, 1):
        given = arguments(seed)
        torch.testing.assert_close(compiled(*given), eager(net, *given))


@every_core
def test_traced_and_exported(core: str) -> None:
    """Otherwise the traced net has the episode starts of the example as constants."""
    net = Net(core)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced: Any = torch.jit.trace(net, arguments(0), check_trace=False)
    exported = torch.export.export(net, arguments(0)).module()
    strictly = torch.export.export(net, arguments(0), strict=True).module()
    for again in (traced, exported, strictly):
        torch.testing.assert_close(again(*arguments(1)), eager(net, *arguments(1)))


@pytest.mark.parametrize("core", ["plastic_rnn", "plastic_lstm", "rnn"])
def test_transformed(core: str) -> None:
    """Otherwise per-example gradients fail. torch's own LSTMCell and GRUCell have no vmap."""
    net = Net(core)
    inputs, _ = arguments(0)

    def last(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        given = (row.unsqueeze(1), torch.zeros(5, 1, dtype=torch.bool))
        return torch.func.functional_call(net, parameters, given)[-1].sum()

    parameters = {name: value.detach() for name, value in net.named_parameters()}
    each = torch.func.vmap(torch.func.grad(last), in_dims=(None, 1))(parameters, inputs)
    for row in range(inputs.shape[1]):
        net.zero_grad()
        eager(net, inputs[:, row : row + 1], torch.zeros(5, 1, dtype=torch.bool))[
            -1
        ].sum().backward()
        for name, value in net.named_parameters():
            torch.testing.assert_close(each[name][row], value.grad)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own
def test_forward_mode() -> None:
    """Otherwise forward-mode differentiation fails."""
    net, (inputs, starts) = Net("plastic_rnn"), arguments(0)
    direction = torch.randn_like(inputs)
    with forward_ad.dual_level():
        outputs = net(forward_ad.make_dual(inputs, direction), starts)
        tangent = forward_ad.unpack_dual(outputs).tangent
    shifted = (eager(net, inputs + 1e-2 * direction, starts) - eager(net, inputs, starts)) / 1e-2
    torch.testing.assert_close(tangent, shifted, atol=0.05, rtol=0.05)


def test_the_fused_backend_by_name_is_refused() -> None:
    """Otherwise the loops fail with an obscure error, or run in another precision."""
    cell = build_cell("plastic_rnn", 4, hidden_size=8)
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(ValueError, match="backend 'fused' cannot run under autocast"),
    ):
        sequence(cell, torch.zeros(3, 2, 4), backend="fused")


@every_core
def test_under_autocast(core: str) -> None:
    """Otherwise loops for one dtype get numbers of another."""
    net, given = Net(core), arguments(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert choose("auto", net.core, given[0]) is EAGER
        outputs = net(*given)
    outputs.float().sum().backward()
    torch.testing.assert_close(outputs.float(), eager(net, *given), atol=0.05, rtol=0.05)
