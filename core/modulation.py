"""The neuromodulator, with which a network controls when its own connections change.

    M(t)   = f( m . x(t) + b )          f: tanh, sigmoid or linear
    M_j(t) = f_j M(t) + g_j             with fan-out: one value per target neuron j

In simple modulation, M(t) replaces the plasticity rate eta. In retroactive modulation, M(t) is the
rate at which the eligibility trace is added to the trace. Source: BP 2019 (arXiv 2002.10585)
sections 3.1, 3.2; the fan-out follows the authors' published code.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "linear": lambda modulation: modulation,
}


class Neuromodulator(nn.Linear):
    """A linear unit whose output is the modulation.

    Args:
        input_size: number of activities that it reads.
        activation: "tanh", "sigmoid" or "linear".
        fan_out: compute one modulation per target neuron, with a ``Linear(1, output_size)``.
    """

    def __init__(
        self, input_size: int, output_size: int, activation: str = "tanh", fan_out: bool = False
    ) -> None:
        super().__init__(input_size, 1)
        self.activation = activation
        self.fan_out = nn.Linear(1, output_size) if fan_out else None

    def forward(self, activity: Tensor) -> Tensor:
        """Return M, (..., 1) or with fan-out (..., output_size), from (..., input_size)."""
        modulation = ACTIVATIONS[self.activation](super().forward(activity))
        return modulation if self.fan_out is None else self.fan_out(modulation)
