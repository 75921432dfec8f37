"""The cells, by name. A cell is a file here, a config in ``configs.py`` and a line in ``CELLS``.

The files of the cells need torch, so each is imported when its cell is built.
"""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from plasticrl.core.cells.configs import (
    CellConfig,
    GRUConfig,
    IdentityConfig,
    LSTMConfig,
    PlasticLSTMConfig,
    PlasticReadoutConfig,
    PlasticRNNConfig,
    RNNConfig,
    check_options,
    vary,
)
from plasticrl.core.plasticity import OptionError, check_size, defaults

if TYPE_CHECKING:
    from plasticrl.core.cells.cell import Cell


class Entry(NamedTuple):
    """An entry of ``CELLS``."""

    config: type[CellConfig]
    """The cell's options."""
    code: str
    """The cell's class, as ``module:class``."""
    takes_labels: bool = False
    """Whether its input has a label too, so that it is for supervised tasks only."""

    def load(self) -> "Callable[[int, CellConfig], Cell[Any]]":
        """Import the cell's class, and torch with it."""
        module, name = self.code.split(":")
        cell: Callable[[int, CellConfig], Cell[Any]] = getattr(
            import_module(f"{__name__}.{module}"), name
        )
        return cell


CELLS = {
    entry.config.name: entry
    for entry in (
        Entry(RNNConfig, "rnn:RNN"),
        Entry(GRUConfig, "gru:GRU"),
        Entry(LSTMConfig, "lstm:LSTM"),
        Entry(IdentityConfig, "identity:Identity"),
        Entry(PlasticRNNConfig, "plastic_rnn:PlasticRNN"),
        Entry(PlasticLSTMConfig, "plastic_lstm:PlasticLSTM"),
        Entry(PlasticReadoutConfig, "plastic_readout:PlasticReadout", takes_labels=True),
    )
}


def cell_entry(name: str) -> Entry:
    """The entry of a cell in ``CELLS``.

    Raises:
        OptionError: for a name that no cell has.
    """
    if name not in CELLS:
        raise OptionError(f"there is no core {name!r}; there are {', '.join(CELLS)}")
    return CELLS[name]


def cell_fields(name: str) -> tuple[str, ...]:
    """The names of a cell's options.

    Raises:
        OptionError: for a name that no cell has.
    """
    return tuple(defaults(cell_entry(name).config))


def build_cell(cell: str | CellConfig, input_size: int, **options: Any) -> "Cell[Any]":
    """Build a cell.

    ``build_cell("plastic_rnn", 17, hidden_size=100, modulation="simple", fan_out=True)``

    Args:
        cell: the name of a cell, or a config.
        input_size: width of an input.
        options: options of the cell, those of its plasticity included; they change the config.

    Raises:
        OptionError: for an unknown name or option, a value outside its range, or options that
            contradict each other.
    """
    if not isinstance(cell, str | CellConfig):
        raise OptionError(f"{cell!r} is neither the name of a core nor the config of one")
    entry = cell_entry(cell if isinstance(cell, str) else cell.name)
    config = entry.config() if isinstance(cell, str) else cell
    check_options(type(config), options)
    check_size(input_size=input_size)
    return entry.load()(input_size, replace(config, **options))


__all__ = ["CELLS", "Entry", "build_cell", "cell_entry", "cell_fields", "vary"]
