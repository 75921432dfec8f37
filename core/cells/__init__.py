"""The cells, by name. Each has a file here, a config in ``configs.py`` and a line in ``CELLS``.

A cell's file needs torch, so it is imported only when the cell is built.
"""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from plasticrl.core.cells.configs import (
    CellConfig,
    FastWeightsConfig,
    GRUConfig,
    IdentityConfig,
    InnerGradientConfig,
    LayeredConfig,
    LSTMConfig,
    PlasticLSTMConfig,
    PlasticReadoutConfig,
    PlasticRNNConfig,
    RNNConfig,
    STPNConfig,
    check_options,
    vary,
)
from plasticrl.core.plasticity import OptionError, check_size, defaults

if TYPE_CHECKING:
    from plasticrl.core.cells.cell import Cell


class Entry(NamedTuple):
    """An entry of ``CELLS``: a cell's config class and the place of its code."""

    config: type[CellConfig]
    """The class of the cell's options."""
    code: str
    """The cell's class, as ``module:class``."""
    takes_labels: bool = False
    """Whether its input includes a label, so that only supervised tasks can use it."""

    def load(self) -> "Callable[[int, CellConfig], Cell[Any]]":
        """Import the cell's file, and with it torch, and return the cell's class."""
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
        Entry(FastWeightsConfig, "fast_weights:FastWeights"),
        Entry(STPNConfig, "stpn:STPN"),
        Entry(InnerGradientConfig, "inner_gradient:InnerGradient"),
        Entry(PlasticReadoutConfig, "plastic_readout:PlasticReadout", takes_labels=True),
    )
}


def cell_entry(name: str) -> Entry:
    """Return the entry of a cell in ``CELLS``.

    Raises:
        OptionError: if no cell has this name.
    """
    if name not in CELLS:
        raise OptionError(f"there is no core {name!r}; there are {', '.join(CELLS)}")
    return CELLS[name]


def cell_fields(name: str) -> tuple[str, ...]:
    """Return the names of a cell's options.

    Raises:
        OptionError: if no cell has this name.
    """
    return tuple(defaults(cell_entry(name).config))


def vary_core(config: CellConfig, changes: dict[str, Any]) -> tuple[CellConfig, dict[str, Any]]:
    """Return a config with changed options, among which may be the name of another cell.

    With another cell, the options that both cells have keep their values, if they can be used
    there. Otherwise this is ``vary``.

    Args:
        changes: the new values by option; ``name`` is the name of the cell.

    Returns:
        The new config, and the old values of the options that were reset or that the new cell does
        not have, unless they were the defaults.

    Raises:
        OptionError: as ``vary``, or if no cell has this name.
    """
    options = dict(changes)
    new_type = cell_entry(options.pop("name", config.name)).config
    if new_type is type(config):
        return vary(config, options)
    check_options(new_type, options)
    old = {option: getattr(config, option) for option in defaults(type(config))}
    shared = {option: value for option, value in old.items() if option in defaults(new_type)}
    new, dropped = vary(new_type(**shared), options)
    return new, dropped | {
        option: value
        for option, value in old.items()
        if option not in shared and value != defaults(type(config))[option]
    }


def build_cell(cell: str | CellConfig, input_size: int, **options: Any) -> "Cell[Any]":
    """Build a cell, or a ``Stack`` of cells if ``num_layers`` is above 1. For example:

    ``build_cell("plastic_rnn", 17, hidden_size=100, modulation="simple", fan_out=True)``

    Args:
        cell: the name of a cell, or a config.
        input_size: the width of an input.
        options: options of the cell; they override those of a config.

    Raises:
        OptionError: for an unknown name or option, an invalid value, or options that cannot be
            used together.
    """
    if not isinstance(cell, str | CellConfig):
        raise OptionError(f"{cell!r} is neither the name of a core nor the config of one")
    entry = cell_entry(cell if isinstance(cell, str) else cell.name)
    config = entry.config() if isinstance(cell, str) else cell
    check_options(type(config), options)
    check_size(input_size=input_size)
    build, config = entry.load(), replace(config, **options)
    if not isinstance(config, LayeredConfig) or config.num_layers == 1:
        return build(input_size, config)
    from plasticrl.core.cells.composed import Stack  # needs torch

    layer, sizes = replace(config, num_layers=1), [input_size]
    sizes += [config.hidden_size] * (config.num_layers - 1)
    return Stack([build(size, layer) for size in sizes], config)


__all__ = ["CELLS", "Entry", "build_cell", "cell_entry", "cell_fields", "vary", "vary_core"]
