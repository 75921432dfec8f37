"""The plastic LSTM without its trace: for wide layers and not too many steps.

While the bound does not bind, the trace is a sum of the updates made so far, and its product with
the present activity needs the past activities alone:

    H(t) h  =  H(0) h  +  sum over s < t of  r(s) g(s) ( h_pre(s) . h )

with the rate r (eta, or M per neuron), g the post- and h_pre the pre-synaptic activity. That is
T^2 N numbers instead of T N^2. It needs alpha to be constant along a row, and a guard: from step a
to step b, |H[j, i]| can nowhere be larger than |H(a)[j, i]| + the sum of |r g|_j |h_pre|_i. Where
that, taken a few steps at a time, is above the clip, the sequence is run again with the trace, so
the result is always exact.
"""

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plasticrl.core.backends import eager, recomputed
from plasticrl.core.cells.cell import Cell
from plasticrl.core.cells.plastic_lstm import PlasticLSTM, PlasticLSTMState
from plasticrl.core.connection import PlasticConnection

stepper = eager.stepper

GUARDED_STEPS = 8
"""Steps b - a of the guard: with more it is quicker, and sees the bound met where it is not."""


def supports(cell: Cell[Any], inputs: Tensor) -> bool:
    """Whether ``run`` can run the cell, and is faster on these inputs than step by step."""
    if type(cell) is not PlasticLSTM or type(cell.connection) is not PlasticConnection:
        return False
    options = cell.connection.plasticity
    sums = options.rule == "hebb" and options.bound in ("hard", "none")
    by_row = options.alpha != "connection" and options.modulation != "retroactive"
    return sums and by_row and len(inputs) < cell.hidden_size


def run(
    cell: Cell[Any], inputs: Tensor, state: Any, episode_starts: Tensor | None
) -> tuple[Tensor, Any]:
    """Outputs (T, B, N) and final state; arguments as ``plasticrl.core.sequence``, checked."""
    assert isinstance(cell, PlasticLSTM)
    connection = cell.connection
    starting = [] if episode_starts is None else episode_starts.any(dim=1).tolist()
    past = _Past(state.trace)
    now, outputs = state, []
    for t, drive in enumerate(cell.project(inputs)):
        if episode_starts is not None and starting[t]:
            now = _restarted(now, episode_starts[t])
            past.forget(episode_starts[t])
        plastic = connection.alpha.T * past.product(now.hidden)
        fixed = F.linear(now.hidden, connection.weight)
        candidate, hidden, memory = cell.gate(drive, now, fixed + plastic)
        modulation = connection.modulation(memory if cell.modulator_input == "cell" else hidden)
        rate = connection.eta if modulation is None else modulation
        assert rate is not None
        past.add(rate * candidate, now.hidden)
        now = now._replace(hidden=hidden, cell=memory)
        outputs.append(hidden)
    if connection.plasticity.bound == "hard" and _may_have_met(
        connection.plasticity.clip, state.trace.detach(), past.updates, episode_starts
    ):
        large = recomputed.supports(cell, inputs)
        return (recomputed.run if large else eager.run)(cell, inputs, state, episode_starts)
    return torch.stack(outputs), now._replace(trace=past.trace())


def _restarted(state: PlasticLSTMState, starts: Tensor) -> PlasticLSTMState:
    fresh = starts.unsqueeze(1)
    return state._replace(
        hidden=torch.where(fresh, 0.0, state.hidden), cell=torch.where(fresh, 0.0, state.cell)
    )


class _Past:
    """The updates of a trace, each r g and h_pre (B, N), in place of the trace itself (B, N, N)."""

    def __init__(self, trace: Tensor) -> None:
        self.initial = trace
        self.posts: list[Tensor] = []
        self.pres: list[Tensor] = []
        self.updates: list[tuple[Tensor, Tensor]] = []  # of ended episodes too; no gradient

    def add(self, post: Tensor, pre: Tensor) -> None:
        self.posts.append(post)
        self.pres.append(pre)
        self.updates.append((post.detach(), pre.detach()))

    def forget(self, starts: Tensor) -> None:
        """By selection: no value and no gradient of an ended episode gets through."""
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

    def trace(self) -> Tensor:
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
    cuts = sorted({*range(0, n_steps, GUARDED_STEPS), *starts, n_steps})
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
