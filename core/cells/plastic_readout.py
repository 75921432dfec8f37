"""The plastic readout: a softmax layer that learns classes from labeled examples in an episode.

    y = softmax( (w + alpha * H) f + gain * onehot(label) )

f is an embedding. A label forces the output to its class, and the learning rule (pre = f, post = y)
associates the embedding with it. Source: DP 2018 (arXiv 1804.02464) section 4.4.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.configs import PlasticReadoutConfig
from plasticrl.core.connection import PlasticConnection, init_
from plasticrl.core.plasticity import OptionError


class PlasticReadoutState(NamedTuple):
    """trace (B, O, F)."""

    trace: Tensor


class PlasticReadout(Cell[PlasticReadoutState]):
    """The cell. Its input is the embedding, then the one-hot label, (B, F + O).

    An unlabeled input has zeros as its label.

    Raises:
        OptionError: if the input is not wider than the label.
    """

    connection: PlasticConnection

    def __init__(self, input_size: int, config: PlasticReadoutConfig) -> None:
        super().__init__(input_size, config.hidden_size, config)
        if input_size <= config.hidden_size:
            raise OptionError(
                f"plastic_readout reads an embedding and a label of {config.hidden_size} classes "
                f"side by side: input_size must be above {config.hidden_size}, not {input_size}"
            )
        self.label_gain = config.label_gain
        self.connection = PlasticConnection(input_size - self.hidden_size, self.hidden_size, config)
        init_(self.connection.weight, config.weight_init, config.weight_scale)

    def initial_state(self, batch_size: int) -> PlasticReadoutState:
        return PlasticReadoutState(self.connection.initial_traces(batch_size)[0])

    def step(self, drive: Tensor, state: PlasticReadoutState) -> tuple[Tensor, PlasticReadoutState]:
        embedding, label = drive.tensor_split([self.input_size - self.hidden_size], dim=1)
        logits = self.connection(embedding, state.trace) + self.label_gain * label
        output = torch.softmax(logits, dim=1)
        trace, _ = self.connection.update(
            state.trace, None, pre=embedding, post=output, activity=output
        )
        return output, PlasticReadoutState(trace)
