"""The plastic LSTM without its trace, for wide layers and not too many steps.

As long as no bound is met, the trace is the sum of the updates made so far. Its product with the
present activity then needs the past activities alone:

    H(t) h  =  H(0) h  +  sum over s < t of  r(s) g(s) ( h_pre(s) . h )

with the rate r (eta, or M per neuron), the post-synaptic activity g and the pre-synaptic activity
h_pre. These are T^2 N numbers instead of T N^2. alpha has to be constant along a row.

Whether a bound may have been met is decided by an upper limit: from step a to step b, |H[j, i]| is
at most |H(a)[j, i]| + the sum of |r g|_j |h_pre|_i. Where this is above the clip, the sequence is
run again with the trace, so the result is always exact.
"""

import itertools
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from plasticrl.core.backends.eager import EAGER, EagerSteps
from plasticrl.core.backends.recomputed import RECOMPUTED
from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.plastic_lstm import PlasticLSTM, PlasticLSTMState
from plasticrl.core.stock import is_stock_cell

CHECKED_STEPS = 8
"""Steps b - a of the upper limit. With more of them it is computed faster, but is less tight."""


class TracelessBackend(EagerSteps):
    """Runs a ``PlasticLSTM`` where that is faster than step by step."""

    def supports(self, cell: Cell[Any], inputs: Tensor) -> bool:
        if not isinstance(cell, PlasticLSTM) or not is_stock_cell(cell):
            return False
        options = cell.connection.plasticity
        is_sum = options.rule == "hebb" and options.bound in ("hard", "none")
        by_row = options.alpha != "connection" and options.modulation != "retroactive"
        return is_sum and by_row and len(inputs) < cell.hidden_size

    def run(
        self,
        cell: Cell[PlasticLSTMState],
        inputs: Tensor,
        state: PlasticLSTMState,
        episode_starts: Tensor | None,
    ) -> tuple[Tensor, PlasticLSTMState]:
        outputs, final, trace = _run(cast(PlasticLSTM, cell), inputs, state, episode_starts)
        assert cell.connection is not None
        plasticity = cell.connection.plasticity
        if plasticity.bound == "hard" and _may_have_met(
            plasticity.clip, state.trace.detach(), trace.updates, episode_starts
        ):
            exact = RECOMPUTED if RECOMPUTED.supports(cell, inputs) else EAGER
            return exact.run(cell, inputs, state, episode_starts)
        return outputs, final._replace(trace=trace.sum())


TRACELESS = TracelessBackend()


def _run(
    cell: PlasticLSTM, inputs: Tensor, state: PlasticLSTMState, episode_starts: Tensor | None
) -> tuple[Tensor, PlasticLSTMState, "_TraceAsSum"]:
    """Outputs, final state (its trace is that of the start) and trace, as if no bound were met."""
    connection = cell.connection
    starting = [] if episode_starts is None else episode_starts.any(dim=1).tolist()
    trace, outputs = _TraceAsSum(state.trace), []
    for t, drive in enumerate(cell.project(inputs)):
        if episode_starts is not None and starting[t]:
            state = _restarted(state, episode_starts[t])
            trace.restart(episode_starts[t])
        plastic = connection.alpha.T * trace.product(state.hidden)
        fixed = F.linear(state.hidden, connection.weight)
        candidate, hidden, memory = cell.gate(drive, state, fixed + plastic)
        modulation = connection.modulation(memory if cell.modulator_input == "cell" else hidden)
        rate = connection.eta if modulation is None else modulation
        assert rate is not None
        trace.add(rate * candidate, state.hidden)
        state = state._replace(hidden=hidden, cell=memory)
        outputs.append(hidden)
    return torch.stack(outputs), state, trace


def _restarted(state: PlasticLSTMState, starts: Tensor) -> PlasticLSTMState:
    fresh = starts.unsqueeze(1)
    return state._replace(
        hidden=torch.where(fresh, 0.0, state.hidden), cell=torch.where(fresh, 0.0, state.cell)
    )


class _TraceAsSum:
    """A trace (B, N, N) as its updates, each r g and h_pre (B, N)."""

    def __init__(self, trace: Tensor) -> None:
        self.initial = trace
        self.posts: list[Tensor] = []
        self.pres: list[Tensor] = []
        self.updates: list[tuple[Tensor, Tensor]] = []  # of all episodes, without gradient

    def add(self, post: Tensor, pre: Tensor) -> None:
        self.posts.append(post)
        self.pres.append(pre)
        self.updates.append((post.detach(), pre.detach()))

    def restart(self, starts: Tensor) -> None:
        """Set the rows whose episode starts to zero, by selection: an infinite value goes, too."""
        row = starts.unsqueeze(1)
        self.initial = torch.where(row.unsqueeze(2), 0.0, self.initial)
        self.posts = [torch.where(row, 0.0, post) for post in self.posts]
        self.pres = [torch.where(row, 0.0, pre) for pre in self.pres]

    def product(self, pre: Tensor) -> Tensor:
        """H x, (B, N), for x (B, N)."""
        column = pre.unsqueeze(2)
        product = torch.bmm(self.initial, column)
        if self.posts:
            scores = torch.bmm(torch.stack(self.pres, dim=1), column)
            product = product + torch.bmm(torch.stack(self.posts, dim=2), scores)
        return product.squeeze(2)

    def sum(self) -> Tensor:
        """H, (B, N, N)."""
        return self.initial + torch.bmm(
            torch.stack(self.posts, dim=2), torch.stack(self.pres, dim=1)
        )


@torch.no_grad()
def _may_have_met(
    clip: float,
    initial: Tensor,
    updates: list[tuple[Tensor, Tensor]],
    episode_starts: Tensor | None,
) -> bool:
    """Whether |H| may have been above the clip after a step; also where something is NaN."""
    n_steps = len(updates)
    starts = [] if episode_starts is None else episode_starts.any(dim=1).nonzero()[:, 0].tolist()
    trace = initial.clone()
    cuts = sorted({*range(0, n_steps, CHECKED_STEPS), *starts, n_steps})
    for first, last in itertools.pairwise(cuts):
        if episode_starts is not None:
            trace.masked_fill_(episode_starts[first].view(-1, 1, 1), 0.0)
        posts, pres = zip(*updates[first:last], strict=True)
        post, pre = torch.stack(posts, dim=2), torch.stack(pres, dim=1)
        largest = trace.abs().baddbmm_(post.abs(), pre.abs()).amax().item()
        if not largest <= clip:
            return True
        trace.baddbmm_(post, pre)
    return False
