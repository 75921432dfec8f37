"""Run the plastic LSTM without computing its trace at each step.

Step s adds r(s) g(s) h(s)^T to the trace H (N, N), where r is the rate (eta or the modulation), g
the post-synaptic and h the pre-synaptic activity. As long as the trace is not clipped, it is the
initial trace plus these updates, and its product with h(t) needs only the stored activities:

    H(t) h(t)  =  H(0) h(t)  +  sum over s < t of  r(s) g(s) ( h(s) . h(t) )

For T steps, this takes about T^2 N operations instead of T N^2, so it is faster for T < N. It is
for tensors that the compiled loops of ``fused`` do not support, because those are faster (see
``results/benchmarks``). Here alpha multiplies the product H h instead of H, so all connections to a
neuron must have the same alpha.

After the last step, an estimate tells whether the trace may have been clipped: between the steps a
and b, |H[j, i]| is at most |H(a)[j, i]| plus the sum of |r(s) g(s)|[j] |h(s)|[i]. If this is above
``clip``, a backend that computes the trace runs the sequence again. So the result is always exact.
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
"""The number of steps b - a for each estimate. A larger one is faster, but less precise."""


class TracelessBackend(EagerSteps):
    """Runs a ``PlasticLSTM`` with more neurons than steps."""

    def supports(self, cell: Cell[Any], inputs: Tensor) -> bool:
        if not isinstance(cell, PlasticLSTM) or not is_stock_cell(cell):
            return False
        options = cell.connection.plasticity
        is_sum = options.rule == "hebb" and options.bound in ("hard", "none")
        is_supported = options.alpha != "connection" and options.modulation in ("none", "simple")
        return is_sum and is_supported and len(inputs) < cell.hidden_size

    def run(
        self,
        cell: Cell[PlasticLSTMState],
        inputs: Tensor,
        state: PlasticLSTMState,
        episode_starts: Tensor | None,
    ) -> tuple[Tensor, PlasticLSTMState]:
        outputs, final, trace = _run_without_bound(
            cast(PlasticLSTM, cell), inputs, state, episode_starts
        )
        plasticity = cast(PlasticLSTM, cell).connection.plasticity
        if plasticity.bound == "hard" and _may_have_been_clipped(
            plasticity.clip, state.trace.detach(), trace.updates, episode_starts
        ):
            exact = RECOMPUTED if RECOMPUTED.supports(cell, inputs) else EAGER
            return exact.run(cell, inputs, state, episode_starts)
        return outputs, final._replace(trace=trace.sum())


TRACELESS = TracelessBackend()


def _run_without_bound(
    cell: PlasticLSTM, inputs: Tensor, state: PlasticLSTMState, episode_starts: Tensor | None
) -> tuple[Tensor, PlasticLSTMState, "_TraceAsSum"]:
    """Return outputs, the final state except for its trace, and the trace if it had no bound."""
    connection = cell.connection
    any_start = [] if episode_starts is None else episode_starts.any(dim=1).tolist()
    trace, outputs = _TraceAsSum(state.trace), []
    for t, projected in enumerate(cell.project(inputs)):
        if episode_starts is not None and any_start[t]:
            state = _restarted(state, episode_starts[t])
            trace.restart(episode_starts[t])
        plastic = connection.alpha.T * trace.product(state.hidden)
        fixed = F.linear(state.hidden, connection.weight)
        candidate, hidden, memory = cell.gate(projected, state, fixed + plastic)
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
    """A trace (B, N, N), stored as the initial trace and, for each update, r g and h (B, N)."""

    def __init__(self, trace: Tensor) -> None:
        self.initial = trace
        self.posts: list[Tensor] = []
        self.pres: list[Tensor] = []
        self.updates: list[tuple[Tensor, Tensor]] = []  # detached; ``restart`` keeps them

    def add(self, post: Tensor, pre: Tensor) -> None:
        self.posts.append(post)
        self.pres.append(pre)
        self.updates.append((post.detach(), pre.detach()))

    def restart(self, starts: Tensor) -> None:
        """Set the rows where an episode starts to zero, even if they are infinite or NaN."""
        row = starts.unsqueeze(1)
        self.initial = torch.where(row.unsqueeze(2), 0.0, self.initial)
        self.posts = [torch.where(row, 0.0, post) for post in self.posts]
        self.pres = [torch.where(row, 0.0, pre) for pre in self.pres]

    def product(self, pre: Tensor) -> Tensor:
        """Return H x (B, N), from ``pre`` x (B, N)."""
        column = pre.unsqueeze(2)
        product = torch.bmm(self.initial, column)
        if self.posts:
            scores = torch.bmm(torch.stack(self.pres, dim=1), column)
            product = product + torch.bmm(torch.stack(self.posts, dim=2), scores)
        return product.squeeze(2)

    def sum(self) -> Tensor:
        """Return H (B, N, N)."""
        return self.initial + torch.bmm(
            torch.stack(self.posts, dim=2), torch.stack(self.pres, dim=1)
        )


@torch.no_grad()
def _may_have_been_clipped(
    clip: float,
    initial: Tensor,
    updates: list[tuple[Tensor, Tensor]],
    episode_starts: Tensor | None,
) -> bool:
    """Return whether |H| may have been above ``clip`` after a step, or may have been NaN."""
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
