"""A plastic connection: trained weights, and a trace H that changes at every step.

    drive           y = ( w + alpha * H ) x
    no modulation   H <- bound( H, eta D )
    simple          H <- bound( H, M(t) D )
    retroactive     H <- bound( H, M(t) E ),  then  E <- (1 - eta) E + eta D

The drive uses H from before the update. D is the increment of the learning rule, and ``bound``
limits H (see ``rules``). M(t) is the neuromodulator's signal, and E is the eligibility trace.
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
    """Weights (O, I), their plasticity coefficients, and the update of their trace (B, O, I).

    The module does not store the trace: methods take it and return the new one.

    Args:
        pre_size: number of pre-synaptic neurons, I.
        post_size: number of post-synaptic neurons, O.
        plasticity: the options; see ``Plasticity``.

    Parameters: ``weight`` (O, I); ``alpha`` (O, I), (O, 1) or (1, 1); ``eta`` (1,) unless the
    modulation is simple; those of ``modulator`` if there is one.
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
        """Draw the weights from U(-1/sqrt(I), 1/sqrt(I)), and alpha as the options say."""
        limit = 1 / math.sqrt(self.weight.shape[1])
        nn.init.uniform_(self.weight, -limit, limit)
        init_(self.alpha, self.plasticity.alpha_init, self.plasticity.alpha_scale)
        if self.eta is not None:
            nn.init.constant_(self.eta, self.plasticity.eta_init)

    @property
    def trace_limit(self) -> float:
        """Largest absolute value that the trace can have; infinity if the bound sets no limit."""
        return trace_limit(self.plasticity.bound, self.plasticity.clip)

    def initial_traces(self, batch_size: int) -> tuple[Tensor, Tensor | None]:
        """Zeros (B, O, I): the trace and, with retroactive modulation, the eligibility trace."""
        trace = self.weight.new_zeros(batch_size, *self.weight.shape)
        retroactive = self.plasticity.modulation == "retroactive"
        return trace, torch.zeros_like(trace) if retroactive else None

    def forward(self, pre: Tensor, trace: Tensor) -> Tensor:
        """Return the drive (w + alpha * H) x, (B, O), from pre (B, I) and trace (B, O, I)."""
        plastic = torch.bmm(self.alpha * trace, pre.unsqueeze(2)).squeeze(2)
        return F.linear(pre, self.weight) + plastic

    def modulation(self, activity: Tensor) -> Tensor | None:
        """Return M(t), (..., 1) or (..., O), from activity (..., O); None if not modulated."""
        return None if self.modulator is None else self.modulator(activity)

    def update(
        self,
        trace: Tensor,
        eligibility: Tensor | None,
        pre: Tensor,
        post: Tensor,
        activity: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """Return H and E after a step.

        Args:
            trace: H before the step (B, O, I).
            eligibility: E before the step (B, O, I); None unless the modulation is retroactive.
            pre: pre-synaptic activity (B, I).
            post: post-synaptic activity (B, O).
            activity: the activity that the neuromodulator reads (B, O).
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
    """Fill a parameter with U(0, scale) ("uniform") or N(0, scale^2) ("normal"), in place."""
    if distribution == "uniform":
        parameter.uniform_(0.0, scale)
    else:
        parameter.normal_(0.0, scale)
