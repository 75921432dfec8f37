"""The cells, by name. One file each; a new one is a file and a line in ``CELLS``."""

from dataclasses import fields, replace
from typing import Any

from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.gru import GRU, GRUConfig
from plasticrl.core.cells.identity import Identity, IdentityConfig
from plasticrl.core.cells.lstm import LSTM, LSTMConfig
from plasticrl.core.cells.plastic_lstm import PlasticLSTM, PlasticLSTMConfig
from plasticrl.core.cells.plastic_readout import PlasticReadout, PlasticReadoutConfig
from plasticrl.core.cells.plastic_rnn import PlasticRNN, PlasticRNNConfig
from plasticrl.core.cells.rnn import RNN, RNNConfig
from plasticrl.core.plasticity import check_size

CELLS: dict[str, tuple[type[Cell[Any]], type[Any]]] = {
    "rnn": (RNN, RNNConfig),
    "gru": (GRU, GRUConfig),
    "lstm": (LSTM, LSTMConfig),
    "identity": (Identity, IdentityConfig),
    "plastic_rnn": (PlasticRNN, PlasticRNNConfig),
    "plastic_lstm": (PlasticLSTM, PlasticLSTMConfig),
    "plastic_readout": (PlasticReadout, PlasticReadoutConfig),
}


def cell_fields(name: str) -> tuple[str, ...]:
    """The names of a cell's options.

    Raises:
        ValueError: for a name that is not a cell's.
    """
    if name not in CELLS:
        raise ValueError(f"there is no core {name!r}; there are {', '.join(CELLS)}")
    return tuple(field.name for field in fields(CELLS[name][1]))


def build_cell(cell: str | Any, input_size: int, **options: Any) -> Cell[Any]:
    """A cell by name, or by config, with its options (plasticity's included) given flat.

    ``build_cell("plastic_rnn", 17, hidden_size=100, modulation="simple", fan_out=True)``

    Raises:
        ValueError: for an unknown name or option, a value out of range, or a combination
            of options that means nothing; the message names it.
    """
    name = cell if isinstance(cell, str) else _name_of(cell)
    known = cell_fields(name)
    for option in options:
        if option not in known:
            listed = f"it has {', '.join(known)}" if known else "it has none"
            raise ValueError(f"core {name!r} has no option {option!r}; {listed}")
    check_size(input_size=input_size)
    cell_class, config_class = CELLS[name]
    config = config_class(**options) if isinstance(cell, str) else replace(cell, **options)
    return cell_class(input_size, config)


def _name_of(config: object) -> str:
    for name, (_, config_class) in CELLS.items():
        if type(config) is config_class:
            return name
    raise ValueError(f"{config!r} is neither the name of a core nor the config of one")
