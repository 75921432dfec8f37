"""A language model: an embedding, layers of LSTM cells and a decoder, which can be the embedding.

    x = W_emb[word],    x <- sequence(cell, dropout(x)) for each layer,    logits = W_dec x + b

Dropout is variational, with one mask for all steps of a window (Gal & Ghahramani 2016, arXiv
1512.05287). The gradient of a parameter that connections share is divided by their number.
Sources: BP 2019 (arXiv 2002.10585) section 4.3; Merity et al. 2017 (arXiv 1708.02182) for the
large model.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from plasticrl.core import Cell, build_cell, sequence
from plasticrl.core.state import detach
from plasticrl.tasks.language.config import Kind, LanguageConfig

INIT_RANGE = 0.1
"""Largest absolute initial weight of the embedding and the decoder."""
MODULATION = {"plastic": "none", "simple": "simple", "retroactive": "retroactive"}


class Output(NamedTuple):
    """The output of the model for a window of T steps of B streams."""

    logits: Tensor
    """Logits of the next word, (T, B, V)."""
    last: Tensor
    """The output of the last layer, (T, B, N)."""
    dropped: Tensor
    """The same after dropout, which is the input of the decoder."""
    states: tuple[Any, ...]
    """The states of all layers after the window, detached."""


class LanguageModel(nn.Module):
    """The model that the docstring of this file describes.

    Args:
        config: the options.
        kind: the kind of the layers.
        n_words: V, the size of the vocabulary.
        sizes: the number of units of each layer.
    """

    def __init__(
        self, config: LanguageConfig, kind: Kind, n_words: int, sizes: Sequence[int]
    ) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(n_words, config.embedding_size)
        inputs = (config.embedding_size, *sizes)
        self.layers = nn.ModuleList(
            _cell(config, kind, input_size, size)
            for input_size, size in zip(inputs, sizes, strict=False)
        )
        self.decoder = nn.Linear(sizes[-1], n_words)
        if config.tied:
            self.decoder.weight = self.embedding.weight
        for weight in (self.embedding.weight, self.decoder.weight):
            nn.init.uniform_(weight, -INIT_RANGE, INIT_RANGE)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, tokens: Tensor, states: tuple[Any, ...] | None = None) -> Output:
        """Read tokens (T, B) from the given states of the layers, or from the initial ones."""
        config, last = self.config, self.embedding(tokens)
        after = []
        for position, layer in enumerate(self.layers):
            x = self._dropout(last, config.dropout_hidden if position else config.dropout_input)
            before = None if states is None else states[position]
            last, state = sequence(cast(Cell[Any], layer), x, before)
            after.append(detach(state))
        dropped = self._dropout(last, config.dropout_output)
        return Output(self.decoder(dropped), last, dropped, tuple(after))

    def _dropout(self, x: Tensor, p: float) -> Tensor:
        return locked_dropout(x, p) if self.training and p else x


def locked_dropout(x: Tensor, p: float) -> Tensor:
    """Apply dropout to x (T, B, N) with one mask for all steps, and scale the kept units."""
    mask = torch.empty_like(x[:1]).bernoulli_(1 - p) / (1 - p)
    return x * mask


def _cell(config: LanguageConfig, kind: Kind, input_size: int, size: int) -> Cell[Any]:
    if kind == "lstm":
        return build_cell("lstm", input_size, hidden_size=size)
    cell = build_cell(
        "plastic_lstm",
        input_size,
        hidden_size=size,
        alpha=config.alpha,
        clip=config.trace_bound,
        modulation=MODULATION[kind],
        fan_out=kind != "plastic",
    )
    _share_gradients(cell)
    return cell


def _share_gradients(cell: Cell[Any]) -> None:
    """Divide the gradients of alpha and eta by the number of connections that share them.

    The paper does this for alpha, "for stability". Without it, a usual step makes eta of a
    retroactive net negative, and the eligibility trace diverges.
    """
    assert cell.connection is not None
    n_connections = cell.connection.weight.numel()
    for parameter in (cell.connection.alpha, cell.connection.eta):
        if parameter is not None and parameter.numel() < n_connections:
            n_shared = n_connections // parameter.numel()
            parameter.register_hook(partial(_divide, n_shared))  # type: ignore[no-untyped-call]


def _divide(n_shared: int, gradient: Tensor) -> Tensor:
    return gradient / n_shared


def sizes(config: LanguageConfig, kind: Kind, n_words: int) -> tuple[int, ...]:
    """The number of units of each layer: as configured for an LSTM, fewer for a plastic net.

    All layers of a plastic net are smaller by the same number of units, the smallest with which it
    has at most as many parameters as the LSTM. A last layer that is tied to the embedding keeps
    its size.
    """
    max_parameters = n_parameters(config, "lstm", n_words, config.layers)
    n_free = len(config.layers) - config.tied
    for reduction in range(max(config.layers)):
        smaller = tuple(
            size - reduction * (position < n_free) for position, size in enumerate(config.layers)
        )
        if min(smaller) < 1:
            break
        if kind == "lstm" or n_parameters(config, kind, n_words, smaller) <= max_parameters:
            return smaller
    return config.layers


def n_parameters(config: LanguageConfig, kind: Kind, n_words: int, layers: tuple[int, ...]) -> int:
    """The number of parameters of a net with these layers. Tied weights count once."""
    with torch.device("meta"):
        net = LanguageModel(config, kind, n_words, layers)
    return sum(parameter.numel() for parameter in net.parameters())
