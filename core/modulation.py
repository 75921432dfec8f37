"""The neuromodulator, with which a network controls when its own connections change.

It reads the network's activity x(t). The weights m and v, the biases b and c, and the gain g are
trained:

    M(t)   = f( m . x(t) + b )          f: tanh, sigmoid or the identity ("linear")
    M(t)   = g ( f( m1 . x(t) + b1 ) - f( m2 . x(t) + b2 ) )        a pair of modulators
    M_j(t) = v_j M(t) + c_j             with fan-out: one value for each target neuron j

``connection`` uses M(t) as the rate at which the trace changes. Gated modulation has two gates
instead, the retention a, by which the trace is multiplied at each step, and the rate b:

    s(t)   = m . x(t) + c               one for each gate; with fan-out, s_j = v_j s + c_j
    a(t)   = exp( -exp(A) softplus( s_a(t) ) )                       b(t) = sigmoid( s_b(t) )

Sources: BP 2019 (arXiv 2002.10585) sections 3.1, 3.2, and for the fan-out the authors' published
code; for the pair Miconi & Kay 2025 (Nature Neuroscience); for the gates Yang, Kautz & Hatamizadeh
2024 (Gated DeltaNet, arXiv 2412.06464), which has a and b for each head instead of each neuron.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "linear": lambda modulation: modulation,
}


MOST_DECAY = 16.0
"""The initial exp(A) is uniform from 0 to this number."""
LEAST_STEP, MOST_STEP = 0.001, 0.1
"""The initial softplus of the last bias of s_a is log-uniform between these numbers."""


class Neuromodulator(nn.Linear):
    """A linear unit, or a pair of them, whose output is the modulation.

    Args:
        input_size: number of neurons whose activity it reads.
        output_size: number of target neurons; used only with fan-out.
        activation: "tanh", "sigmoid" or "linear".
        fan_out: whether each target neuron has its own modulation M_j.
        pair: whether the modulation is the difference of two units, times a trained gain.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        activation: str = "tanh",
        fan_out: bool = False,
        pair: bool = False,
    ) -> None:
        super().__init__(input_size, 2 if pair else 1)
        self.activation = activation
        self.fan_out = nn.Linear(1, output_size) if fan_out else None
        self.gain = nn.Parameter(torch.ones(1)) if pair else None

    def forward(self, activity: Tensor) -> Tensor:
        """Return M, (..., 1) or with fan-out (..., output_size), from (..., input_size)."""
        modulation = ACTIVATIONS[self.activation](super().forward(activity))
        if self.gain is not None:
            one, other = modulation.chunk(2, dim=-1)
            modulation = self.gain * (one - other)
        return modulation if self.fan_out is None else self.fan_out(modulation)


class Gates(nn.Module):
    """The two gates of gated modulation.

    Args:
        input_size: number of neurons whose activity they read.
        output_size: number of target neurons; used only with fan-out.
        fan_out: whether each target neuron has its own gates.

    Attributes:
        log_decay: A, (1,) or with fan-out (output_size,).
    """

    def __init__(self, input_size: int, output_size: int, fan_out: bool = False) -> None:
        super().__init__()
        self.rate_gate = _gate(input_size, output_size if fan_out else None)
        self.retention_gate = _gate(input_size, output_size if fan_out else None)
        last = self.retention_gate[-1]
        assert isinstance(last, nn.Linear)
        self.log_decay = nn.Parameter((MOST_DECAY * torch.rand_like(last.bias)).log())
        with torch.no_grad():
            span = math.log(MOST_STEP / LEAST_STEP)
            step = LEAST_STEP * (span * torch.rand_like(last.bias)).exp()
            last.bias.copy_(step.expm1().log())  # the inverse of softplus

    def forward(self, activity: Tensor) -> Tensor:
        """Return the rate b, (..., 1) or with fan-out (..., output_size)."""
        return torch.sigmoid(self.rate_gate(activity))

    def retention(self, activity: Tensor) -> Tensor:
        """Return a; the shapes are those of ``forward``."""
        return torch.exp(-self.log_decay.exp() * F.softplus(self.retention_gate(activity)))


def _gate(input_size: int, n_targets: int | None) -> nn.Sequential:
    """A linear unit, followed by a linear layer if each target has a gate of its own."""
    fan_out = [] if n_targets is None else [nn.Linear(1, n_targets)]
    return nn.Sequential(nn.Linear(input_size, 1), *fan_out)
