"""The neuromodulator, with which a network controls when its own connections change.

It reads the network's activity x(t). The weights m and v and the biases b and c are trained:

    M(t)   = f( m . x(t) + b )          f: tanh, sigmoid or the identity ("linear")
    M_j(t) = v_j M(t) + c_j             with fan-out: one value for each target neuron j

``connection`` uses M(t) as the rate at which the trace changes. Source: BP 2019 (arXiv 2002.10585)
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
        input_size: number of neurons whose activity it reads.
        output_size: number of target neurons; used only with fan-out.
        activation: "tanh", "sigmoid" or "linear".
        fan_out: whether each target neuron has its own modulation M_j.
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
