"""The tuples that the fused backend and its kernels exchange; ``fused`` defines T, B, N and G."""

from typing import Any, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor

from plasticrl.core.cells.configs import PlasticRNNConfig
from plasticrl.core.cells.plastic_lstm import PlasticLSTM, PlasticLSTMState
from plasticrl.core.cells.plastic_rnn import PlasticRNN, PlasticRNNState
from plasticrl.core.modulation import Gates
from plasticrl.core.plasticity import Plasticity
from plasticrl.core.population import Population
from plasticrl.core.rules import trace_limit

SUPPORTED_RULES = ("hebb", "oja")
SUPPORTED_BOUNDS = ("hard", "soft", "decay", "none")
SUPPORTED_MODULATIONS = ("none", "simple", "retroactive")


def are_supported(options: Plasticity) -> bool:
    """Return whether the kernels have the equations of a connection with these options."""
    has_trials = isinstance(options, PlasticRNNConfig) and options.trial_input is not None
    return not has_trials and (
        options.rule in SUPPORTED_RULES
        and options.bound in SUPPORTED_BOUNDS
        and options.modulation in SUPPORTED_MODULATIONS
        and options.modulator == "single"
        and options.eligibility_squash == "none"
    )


PlasticCell: TypeAlias = PlasticRNN | PlasticLSTM | Population
PlasticState = TypeVar("PlasticState", PlasticRNNState, PlasticLSTMState)


def module_of(cell: PlasticCell) -> PlasticRNN | PlasticLSTM:
    """Return the cell itself, or the stacked parameters of a ``Population``."""
    return cell.stacked if isinstance(cell, Population) else cell


class NetState(NamedTuple):
    """The state of a plastic cell of any type; a part that the cell does not have is None."""

    hidden: Tensor
    """(B, N)"""
    trace: Tensor
    """(B, N, N), like the next field."""
    eligibility: Tensor | None
    cell: Tensor | None
    """(B, N)"""

    @classmethod
    def of(cls, state: PlasticRNNState | PlasticLSTMState) -> "NetState":
        cell = state.cell if isinstance(state, PlasticLSTMState) else None
        return cls(state.hidden, state.trace, state.eligibility, cell)

    def like(self, state: PlasticState) -> PlasticState:
        """Return the same state in the type of ``state``."""
        return type(state)(**{name: getattr(self, name) for name in state._fields})


class PlasticNet(NamedTuple):
    """The parameters of S nets of N neurons with plastic connections; a missing one is None.

    S is 1, except that it is the number of nets of a ``Population``. The nets are plastic LSTMs if
    there is a ``gates_weight``.
    """

    plasticity: Plasticity
    reads_cell: bool
    """Whether the neuromodulator reads the LSTM's cell instead of its output."""
    weight: Tensor
    """(S, N, N)"""
    alpha: Tensor
    """(S, N, N); expanded if there are fewer coefficients than connections."""
    eta: Tensor | None
    """(S, 1)"""
    modulator_weight: Tensor | None
    """(S, 1, N)"""
    modulator_bias: Tensor | None
    """(S, 1)"""
    fan_out_weight: Tensor | None
    """(S, N, 1)"""
    fan_out_bias: Tensor | None
    """(S, N)"""
    gates_weight: Tensor | None
    """(S, 3N, N), V for the gates i, f and o."""
    gates_bias: Tensor | None
    """(S, 3N)"""

    @classmethod
    def of(cls, cell: PlasticCell) -> "PlasticNet":
        """Return the parameters of a cell's recurrent connections."""
        module = module_of(cell)
        connection = module.connection
        gates = module.gates if isinstance(module, PlasticLSTM) else None
        reads_cell = isinstance(module, PlasticLSTM) and module.modulator_input == "cell"
        modulator = connection.modulator
        assert not isinstance(modulator, Gates)
        fan_out = None if modulator is None else modulator.fan_out
        tensors = {
            "weight": connection.weight,
            "alpha": connection.alpha.expand_as(connection.weight),
            "eta": connection.eta,
            "modulator_weight": None if modulator is None else modulator.weight,
            "modulator_bias": None if modulator is None else modulator.bias,
            "fan_out_weight": None if fan_out is None else fan_out.weight,
            "fan_out_bias": None if fan_out is None else fan_out.bias,
            "gates_weight": None if gates is None else gates.weight,
            "gates_bias": None if gates is None else gates.bias,
        }
        if not isinstance(cell, Population):
            tensors = {k: None if v is None else v.unsqueeze(0) for k, v in tensors.items()}
        return cls(connection.plasticity, reads_cell, **tensors)  # type: ignore[arg-type]

    def part(self, number: int) -> "PlasticNet":
        """Return one of the nets, without the axis S in its parameters."""
        parts: dict[str, Any] = {
            k: v[number] for k, v in self._asdict().items() if isinstance(v, Tensor)
        }
        return self._replace(**parts)

    @property
    def retroactive(self) -> bool:
        """Whether modulation is retroactive, so that there is an eligibility trace."""
        return self.plasticity.modulation == "retroactive"

    @property
    def trace_limit(self) -> float:
        """The largest absolute value of a trace; infinity if its bound sets no limit."""
        return trace_limit(self.plasticity.bound, self.plasticity.clip)


class NetInputs(NamedTuple):
    """The inputs of plastic nets, for T steps of B rows, of which each net has its equal share."""

    projected: Tensor
    """The projected inputs I(t), for an RNN (T, B, N), with the activity of the neurons that are
    clamped; for an LSTM (T, B, 4N)."""
    mask: Tensor | None
    """(T, B, N), true where a neuron is clamped; None if no neuron is."""
    starts: Tensor
    """(T, B), true where an episode starts."""

    @classmethod
    def of(
        cls,
        cell: PlasticCell,
        inputs: Tensor,
        episode_starts: Tensor | None,
    ) -> "NetInputs":
        """Compute a net's inputs from a cell's inputs (T, B, I) and episode starts (T, B)."""
        projected, mask = cell.project(inputs), None
        module = module_of(cell)
        if isinstance(module, PlasticRNN) and module.input_mode == "clamped":
            projected, clamped = projected.chunk(2, dim=2)
            mask = clamped != 0
        if episode_starts is None:
            episode_starts = torch.zeros(inputs.shape[:2], dtype=torch.bool, device=inputs.device)
        return cls(projected, mask, episode_starts)


class ForwardPass(NamedTuple):
    """The results of a forward pass over T steps, some of which only the backward pass needs."""

    outputs: Tensor
    """(T, B, N)"""
    trace: Tensor
    """(B, N, N), after the last step."""
    eligibility: Tensor | None
    """(B, N, N), after the last step."""
    modulation: Tensor
    """The neuromodulator's output M(t), (T, B); arbitrary without a neuromodulator."""
    checkpoints: Any
    """The traces and eligibility traces before steps 0, G, 2 G ..., in the kernels' own layout."""
    segment_length: int
    """G; 0 if there are no checkpoints."""
    gates: Tensor | None = None
    """The activity of an LSTM's gates (T, B, 4N); empty if there are no checkpoints."""
    cells: Tensor | None = None
    """An LSTM's cell (T, B, N)."""

    @property
    def final_state(self) -> NetState:
        """The state after the last step. Its parts share memory with the fields."""
        cell = None if self.cells is None else self.cells[-1]
        return NetState(self.outputs[-1], self.trace, self.eligibility, cell)


class SavedForBackward(NamedTuple):
    """What the backward pass reads; ``NetInputs`` and ``ForwardPass`` document the other fields."""

    outputs: Tensor
    """(T, B, N)"""
    hidden: Tensor
    """(B, N), before the first step."""
    mask: Tensor | None
    starts: Tensor
    modulation: Tensor
    checkpoints: Any
    segment_length: int
    gates: Tensor | None = None
    cells: Tensor | None = None
    cell: Tensor | None = None
    """(B, N), before the first step."""


class Gradients(NamedTuple):
    """The gradients of the loss with respect to the named quantities, as the kernels compute them.

    ``fused`` computes the gradients of the other parameters from these.
    """

    projected: Tensor
    """(T, B, N), or (T, B, 4N) for an LSTM."""
    rate: Tensor
    """The rate at which a target neuron's traces change, eta or the modulation, (T, B, N)."""
    modulator_pre_activation: Tensor
    """m . x(t) + b, the argument of the neuromodulator's output function, (T, B)."""
    hidden: Tensor
    """The activity (B, N) before the first step. The next two fields are of the same time."""
    trace: Tensor
    eligibility: Tensor | None
    alpha: Tensor
    """(S, N, N)"""
    eta: Tensor
    """(S, 1), the gradient through the eligibility trace; arbitrary without one."""
    cell: Tensor | None = None
    """(B, N), before the first step."""
