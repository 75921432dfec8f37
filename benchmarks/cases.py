"""The measured sequences: their cells, backends and sizes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from plasticrl.core import Cell, build_cell, sequence
from plasticrl.core.backends import choose

OBSERVATION_SIZE = 17
"""Size of an observation of the grid maze."""
SEED = 0


class Size(NamedTuple):
    """The size of a sequence."""

    steps: int
    rows: int
    neurons: int


TINY = Size(steps=2, rows=1, neurons=8)
"""The size of a run whose only purpose is to load the libraries and compile the loops."""


class Kind(NamedTuple):
    """A cell and its options."""

    cell: str
    options: dict[str, Any]
    input_size: int | None = OBSERVATION_SIZE
    """None for as many inputs as neurons."""


MODULATED = "plastic_rnn, simple modulation"
LANGUAGE = "plastic_lstm, alpha per neuron"

KINDS = {
    MODULATED: Kind("plastic_rnn", {"modulation": "simple", "fan_out": True, "clip": 2.0}),
    "plastic_rnn, retroactive": Kind("plastic_rnn", {"modulation": "retroactive"}),
    "plastic_rnn, Oja": Kind("plastic_rnn", {"rule": "oja"}),
    "gru": Kind("gru", {}),
    "lstm": Kind("lstm", {}),
    "plastic_lstm": Kind("plastic_lstm", {}),
    LANGUAGE: Kind("plastic_lstm", {"alpha": "neuron"}, input_size=None),
}
"""The measured cells by the name in the tables."""


def backends_of(kind: str, size: Size) -> tuple[str, ...]:
    """The backends that support the cell, eager first."""
    cell = _cell(kind, size)
    try:
        choose("fused", cell, torch.empty(size.steps, size.rows, cell.input_size))
    except ValueError:
        return ("eager",)
    return ("eager", "fused")


def forward_backward(kind: str, backend: str, size: Size) -> Callable[[], None]:
    """Return a function that runs a sequence forward and backward from random upstream gradients.

    The cell and the inputs are made beforehand, so that this is not measured.
    """
    torch.manual_seed(SEED)
    cell = _cell(kind, size)
    inputs = torch.randn(size.steps, size.rows, cell.input_size)
    upstream = torch.randn(size.steps, size.rows, size.neurons)

    def once() -> None:
        cell.zero_grad()
        outputs, _ = sequence(cell, inputs, backend=backend)
        torch.autograd.backward(outputs, upstream)

    return once


def _cell(kind: str, size: Size) -> Cell[Any]:
    name, options, input_size = KINDS[kind]
    return build_cell(name, input_size or size.neurons, hidden_size=size.neurons, **options)
