"""A plastic connection: fixed weights plus a trace that moves while the net lives.

    drive       y = ( w + alpha * H ) x
    simple      H <- bound( H, M(t) D )                     M(t) in the place of eta
    retro-      H <- bound( H, M(t) E ),  then
    active      E <- (1 - eta) E + eta D                    the E used is the one before this step

H is read before the step's own update. D is the rule's increment (see ``rules``).
Sources: DP 2018 (arXiv 1804.02464) equations 1-3; BP 2019 (arXiv 2002.10585) equations 1-5.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plasticrl.core.modulation import Neuromodulator
from plasticrl.core.plasticity import Plasticity
from plasticrl.core.rules import BOUNDS, RULES, trace_limit


class PlasticConnection(nn.Module):
    """Weights (O, I), their plasticity, and how their trace (B, O, I) moves.

    The trace itself is the caller's: state in, new state out.

    Args:
        pre_size: number of pre-synaptic neurons, I.
        post_size: number of post-synaptic neurons, O.
        plasticity: the options; see ``Plasticity``.

    Parameters: ``weight`` (O, I); ``alpha`` (O, I), (O, 1) or (1, 1); ``eta`` (1,) unless the
    modulation is simple; ``modulator`` if there is one.
    """

    def __init__(self, pre_size: int, post_size: int, plasticity: Plasticity) -> None:
        super().__init__()
        self.plasticity = plasticity
        shapes = {"connection": (post_size, pre_size), "neuron": (post_size, 1), "scalar": (1, 1)}
        self.weight = nn.Parameter(torch.empty(post_size, pre_size))
        self.alpha = nn.Parameter(torch.empty(shapes[plasticity.alpha]))
        self.eta = nn.Parameter(torch.empty(1)) if plasticity.has_eta else None
        self.modulator = self._build_modulator(post_size)
        self.reset_parameters()

    def _build_modulator(self, post_size: int) -> Neuromodulator | None:
        options = self.plasticity
        if options.modulation == "none":
            return None
        return Neuromodulator(post_size, post_size, options.modulator_activation, options.fan_out)

    def reset_parameters(self) -> None:
        """Draw the weights from U(-1/sqrt(I), 1/sqrt(I)), alpha as ``plasticity`` says."""
        limit = 1 / math.sqrt(self.weight.shape[1])
        nn.init.uniform_(self.weight, -limit, limit)
        init_(self.alpha, self.plasticity.alpha_init, self.plasticity.alpha_scale)
        if self.eta is not None:
            nn.init.constant_(self.eta, self.plasticity.eta_init)

    @property
    def trace_limit(self) -> float:
        """Largest absolute value that the trace can have; infinity where nothing limits it."""
        return trace_limit(self.plasticity.bound, self.plasticity.clip)

    def initial_traces(self, batch_size: int) -> tuple[Tensor, Tensor | None]:
        """Trace and, where retroactive, eligibility of an episode's start: zeros (B, O, I)."""
        trace = self.weight.new_zeros(batch_size, *self.weight.shape)
        retroactive = self.plasticity.modulation == "retroactive"
        return trace, torch.zeros_like(trace) if retroactive else None

    def forward(self, pre: Tensor, trace: Tensor) -> Tensor:
        """(w + alpha * H) x: drive (B, O) from pre (B, I) and trace (B, O, I)."""
        plastic = torch.bmm(self.alpha * trace, pre.unsqueeze(2)).squeeze(2)
        return F.linear(pre, self.weight) + plastic

    def modulation(self, activity: Tensor) -> Tensor | None:
        """M(t), (..., 1) or with fan-out (..., O), from activity (..., O); None if unmodulated."""
        return None if self.modulator is None else self.modulator(activity)

    def update(
        self,
        trace: Tensor,
        eligibility: Tensor | None,
        pre: Tensor,
        post: Tensor,
        activity: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """The traces after a step.

        Args:
            trace: H before the step (B, O, I).
            eligibility: E before the step (B, O, I) where retroactive, else None.
            pre: pre-synaptic activity (B, I).
            post: post-synaptic activity (B, O).
            activity: what the modulator reads (B, O).
        """
        increment = RULES[self.plasticity.rule](trace, pre, post)
        bounded = BOUNDS[self.plasticity.bound]
        modulation = self.modulation(activity)
        rate = self.eta if modulation is None else modulation.unsqueeze(2)
        assert rate is not None
        if eligibility is None:
            return bounded(trace, increment, rate, self.plasticity.clip), None
        assert self.eta is not None
        return (
            bounded(trace, eligibility, rate, self.plasticity.clip),
            (1 - self.eta) * eligibility + self.eta * increment,
        )


@torch.no_grad()
def init_(parameter: Tensor, distribution: str, scale: float) -> None:
    """Fill with U(0, scale) ("uniform") or N(0, scale^2) ("normal"), in place."""
    if distribution == "uniform":
        parameter.uniform_(0.0, scale)
    else:
        parameter.normal_(0.0, scale)
