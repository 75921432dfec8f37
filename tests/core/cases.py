"""Random cells and cases, on which the tests compare fast backends with the eager one."""

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from plasticrl.core import Cell, build_cell
from plasticrl.core.backends.plastic_net import SUPPORTED_BOUNDS, SUPPORTED_RULES
from plasticrl.core.state import leaves, unflatten

TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4}


@st.composite
def plastic_cells(
    draw: st.DrawFn, names: tuple[str, ...] = ("plastic_rnn", "plastic_lstm")
) -> Cell[Any]:
    """A random cell of one of these names, whose traces reach their bounds.

    A plastic_lstm is in float64, because each dtype needs loops of its own to be compiled.
    """
    name = draw(st.sampled_from(names))
    options: dict[str, Any] = {
        "hidden_size": draw(st.integers(1, 19)),
        "rule": draw(st.sampled_from(SUPPORTED_RULES)),
        "bound": draw(st.sampled_from(SUPPORTED_BOUNDS)),
        "alpha": draw(st.sampled_from(["connection", "neuron", "scalar"])),
        "modulation": draw(st.sampled_from(["none", "simple", "retroactive"])),
        "alpha_scale": 1.0,
    }
    if options["bound"] == "hard":
        options["clip"] = 0.3
    if options["bound"] == "decay":
        options |= {"rule": "hebb", "modulation": draw(st.sampled_from(["none", "simple"]))}
    if options["modulation"] != "none":
        options["fan_out"] = draw(st.booleans())
        activations = ["tanh", "sigmoid", "linear"]
        options["modulator_activation"] = draw(st.sampled_from(activations))
    size, dtypes = 3, [torch.float64]
    if name == "plastic_rnn":
        mode = draw(st.sampled_from(["weights", "additive", "clamped"]))
        options |= {"input_mode": mode, "weight_scale": 0.5}
        size = {"additive": 1, "clamped": 2}.get(mode, 0) * options["hidden_size"] or 3
        dtypes.append(torch.float32)
    elif options["modulation"] != "none":
        options["modulator_input"] = draw(st.sampled_from(["hidden", "cell"]))
    dtype = draw(st.sampled_from(dtypes))
    torch.manual_seed(draw(st.integers(0, 2**16)))
    return build_cell(name, size, **options).to(dtype)


class Case:
    """Inputs, a state and episode starts for a cell, and upstream gradients for all its results."""

    def __init__(
        self,
        cell: Cell[Any],
        n_steps: int,
        n_rows: int,
        p_start: float,
        dtype: torch.dtype | None = None,
    ) -> None:
        dtype = dtype or next(cell.parameters()).dtype
        inputs = torch.randn(n_steps, n_rows, cell.input_size, dtype=dtype)
        if getattr(cell, "input_mode", None) == "clamped":
            inputs[..., cell.hidden_size :] = (inputs[..., cell.hidden_size :] > 0).to(dtype)
        self.cell, self.inputs = cell, inputs.requires_grad_()
        empty = cell.initial_state(n_rows)
        given = [
            (torch.randn_like(leaf, dtype=dtype) * 0.2).requires_grad_() for leaf in leaves(empty)
        ]
        self.state = unflatten(empty, given)
        self.starts = torch.rand(n_steps, n_rows) < p_start
        self.upstream = [torch.randn(n_steps, n_rows, cell.hidden_size, dtype=dtype)]
        self.upstream += [torch.randn_like(leaf) for leaf in given]

    def results(self, run: Any) -> dict[str, Tensor]:
        """Outputs, final state and all gradients, by name."""
        state = self.leaf_names()
        sources = {"inputs": self.inputs, **dict(zip(state, leaves(self.state), strict=True))}
        return self._results(run, sources | dict(self.cell.named_parameters()))

    def leaf_names(self) -> list[str]:
        """The names of the state's tensors."""
        named = zip(self.state._fields, self.state, strict=True)
        return [name for name, leaf in named if leaf is not None]

    def parameter_results(self, run: Any) -> dict[str, Tensor]:
        """The same without the gradients of inputs and initial state."""
        return self._results(run, dict(self.cell.named_parameters()))

    def _results(self, run: Any, sources: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs, final = run(self.cell, self.inputs, self.state, self.starts)
        given = [outputs, *leaves(final)]
        gradients = torch.autograd.grad(given, list(sources.values()), self.upstream)
        state = self.leaf_names()
        names = ["outputs", *(f"final {name}" for name in state)]
        names += [f"d {name}" for name in sources]
        return dict(zip(names, [*given, *gradients], strict=True))
