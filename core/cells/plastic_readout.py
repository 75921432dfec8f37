"""The plastic readout: a softmax layer that learns classes from labeled examples in an episode.

From an embedding f and an optional label, it computes the output

    y = softmax( (w + alpha * H) f + label_gain * onehot(label) )        pre = f, post = y

``connection`` defines w, alpha and H. A large label_gain makes y the one-hot label, so that the
learning rule associates the embedding with the label. Source: DP 2018 (arXiv 1804.02464) section
4.4.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.configs import PlasticReadoutConfig
from plasticrl.core.connection import PlasticConnection, fill_randomly
from plasticrl.core.plasticity import OptionError


class PlasticReadoutState(NamedTuple):
    """trace (B, O, F)."""

    trace: Tensor


class PlasticReadout(Cell[PlasticReadoutState]):
    """The plastic readout of F features and O classes.

    Its input (B, F + O) is the embedding, followed by the one-hot label, or by zeros without one.

    Raises:
        OptionError: if ``input_size`` is not above O.
    """

    connection: PlasticConnection

    def __init__(self, input_size: int, config: PlasticReadoutConfig) -> None:
        super().__init__(input_size, config.hidden_size, config)
        if input_size <= config.hidden_size:
            raise OptionError(
                f"the input of plastic_readout is an embedding, then a one-hot label of "
                f"{config.hidden_size} classes: input_size must be above {config.hidden_size}, "
                f"not {input_size}"
            )
        self.label_gain = config.label_gain
        self.connection = PlasticConnection(input_size - self.hidden_size, self.hidden_size, config)
        fill_randomly(self.connection.weight, config.weight_init, config.weight_scale)

    def initial_state(self, batch_size: int) -> PlasticReadoutState:
        return PlasticReadoutState(self.connection.initial_traces(batch_size)[0])

    def step(
        self, projected: Tensor, state: PlasticReadoutState
    ) -> tuple[Tensor, PlasticReadoutState]:
        embedding, label = projected.tensor_split([self.input_size - self.hidden_size], dim=1)
        logits = self.connection(embedding, state.trace) + self.label_gain * label
        output = torch.softmax(logits, dim=1)
        trace, _ = self.connection.update(
            state.trace, None, pre=embedding, post=output, activity=output
        )
        return output, PlasticReadoutState(trace)
