"""A language model: embedding, layers of LSTM cells, logits; the embedding may be the decoder, too.

    x = W_emb[word],    x <- sequence(cell, dropout(x)) for each layer,    logits = W_dec x + b

Dropout is variational: one mask for all steps of a window (Gal & Ghahramani 2016, arXiv
1512.05287). A parameter that many connections share gets a share of their gradient.
Sources: BP 2019 (arXiv 2002.10585) section 4.3; Merity et al. 2017 (arXiv 1708.02182) for the
large model.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from plasticrl.core import Cell, build_cell, sequence
from plasticrl.core.state import detach
from plasticrl.tasks.language.config import Kind, LanguageConfig

INIT = 0.1
"""Largest initial weight of embedding and decoder."""
LARGE = 1 << 26
"""Numbers T B N^2 in a layer's traces, one for each step, that are too many to keep."""
PIECE = 4
"""Steps computed again at a time; autograd keeps some ten traces of each, and one of each piece."""
MODULATION = {"plastic": "none", "simple": "simple", "retroactive": "retroactive"}


class Output(NamedTuple):
    """What the model gives for a window of T steps of B streams."""

    logits: Tensor
    """(T, B, V)"""
    last: Tensor
    """Of the last layer, (T, B, N)."""
    dropped: Tensor
    """The same after dropout, which the decoder reads."""
    states: tuple[Any, ...]
    """Of every layer after the window, without gradient."""


class LanguageModel(nn.Module):
    """The model; see the module.

    Args:
        config: sizes and dropout.
        kind: what the layers are.
        n_words: V.
        sizes: units of each layer.
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
            nn.init.uniform_(weight, -INIT, INIT)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, tokens: Tensor, states: tuple[Any, ...] | None = None) -> Output:
        """From tokens (T, B) and the states before them; None: the initial states."""
        config, last = self.config, self.embedding(tokens)
        after = []
        for position, layer in enumerate(self.layers):
            x = self._dropout(last, config.dropout_hidden if position else config.dropout_input)
            before = None if states is None else states[position]
            last, state = through_time(cast(Cell[Any], layer), x, before)
            after.append(detach(state))
        dropped = self._dropout(last, config.dropout_output)
        return Output(self.decoder(dropped), last, dropped, tuple(after))

    def _dropout(self, x: Tensor, p: float) -> Tensor:
        return locked_dropout(x, p) if self.training and p else x


def through_time(layer: Cell[Any], x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """``sequence``, in little memory even where a wide layer needs all its traces.

    It does where they reach their bound, and always under retroactive modulation. Then the window
    is cut into pieces, and each is computed again on the way back (Chen et al. 2016, arXiv
    1604.06174).
    """
    n_steps, n_rows, _ = x.shape
    n_numbers = n_steps * n_rows * layer.hidden_size**2
    if layer.connection is None or not torch.is_grad_enabled() or n_numbers < LARGE:
        return sequence(layer, x, state)
    outputs = []
    for start in range(0, n_steps, PIECE):
        piece = x[start : start + PIECE]
        before = layer.initial_state(n_rows) if state is None else state
        output, state = checkpoint(sequence, layer, piece, before, use_reentrant=False)
        outputs.append(output)
    return torch.cat(outputs), state


def locked_dropout(x: Tensor, p: float) -> Tensor:
    """x (T, B, N) with each unit of each row dropped at all steps or at none, the others scaled."""
    kept = torch.empty_like(x[:1]).bernoulli_(1 - p) / (1 - p)
    return x * kept


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
    """Divide the gradient of alpha and eta by the connections that share it: a row of N, or N^2.

    For alpha the paper does so, "for stability". Without it, a step of the usual size takes eta of
    a retroactive net below zero, and the eligibility trace grows without end.
    """
    assert cell.connection is not None
    n_connections = cell.connection.weight.numel()
    for parameter in (cell.connection.alpha, cell.connection.eta):
        if parameter is not None and parameter.numel() < n_connections:
            share = n_connections // parameter.numel()
            parameter.register_hook(partial(_divided, share))  # type: ignore[no-untyped-call]


def _divided(share: int, gradient: Tensor) -> Tensor:
    return gradient / share


def sizes(config: LanguageConfig, kind: Kind, n_words: int) -> tuple[int, ...]:
    """Units of the layers: as configured for an LSTM, less for a plastic net of as many parameters.

    Each layer is narrower by the same number of units, the least with which the net has at most
    as many parameters as the LSTM; but not a last layer that is tied to the embedding.
    """
    most = n_parameters(config, "lstm", n_words, config.layers)
    n_free = len(config.layers) - config.tied
    for less in range(max(config.layers)):
        smaller = tuple(
            size - less * (position < n_free) for position, size in enumerate(config.layers)
        )
        if min(smaller) < 1:
            break
        if kind == "lstm" or n_parameters(config, kind, n_words, smaller) <= most:
            return smaller
    return config.layers


def n_parameters(config: LanguageConfig, kind: Kind, n_words: int, layers: tuple[int, ...]) -> int:
    """How many parameters such a net has; tied ones count once."""
    with torch.device("meta"):
        net = LanguageModel(config, kind, n_words, layers)
    return sum(parameter.numel() for parameter in net.parameters())
