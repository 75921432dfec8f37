"""A plastic connection: a layer whose effective weights change at every step.

The weights w and the plasticity coefficients alpha are trained. The Hebbian trace H is zero at the
start of an episode and changes at every step. From the pre-synaptic activity x, the layer computes
the pre-activation, in which * is the element-wise product:

    y = ( w + alpha * H ) x

Then a learning rule computes an increment D from the pre- and post-synaptic activities, and
``bound(H, D, rate)`` adds rate * D to H and limits the result; see ``rules``. The rate is the
trained eta, or the output M(t) of a neuromodulator. With retroactive modulation, the increments are
first accumulated in an eligibility trace E:

    none            H <- bound( H, D, eta )
    simple          H <- bound( H, D, M(t) )
    retroactive     H <- bound( H, E, M(t) ),  then  E <- (1 - eta) E + eta D
    gated           H <- bound( a(t) H, D, b(t) ), where D is computed from a(t) H

With ``eligibility_squash``, tanh(D) takes the place of D in E.

Sources: DP 2018 (arXiv 1804.02464) equations 1-3; BP 2019 (arXiv 2002.10585) equations 1-5; Miconi
& Kay 2025 (Nature Neuroscience) for the squashed eligibility; Yang, Kautz & Hatamizadeh 2024 (arXiv
2412.06464) equation 10 for the gates.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plasticrl.core.modulation import Gates, Neuromodulator
from plasticrl.core.plasticity import Plasticity
from plasticrl.core.rules import BOUNDS, RULES, trace_limit

COEFFICIENT_STD = 0.01
"""The standard deviation of the initial coefficients of the rule ``abcd``."""


class Connection(nn.Module):
    """A layer whose effective weights are w + alpha * H, where H changes at every step.

    Attributes:
        weight: w (O, I).
        alpha: what multiplies H; zero makes the layer an ordinary one.
        eta: the trained rate (1,) at which H changes, or None.
        modulator: what computes that rate from the activity, or None.
        trace_limit: the largest absolute value of H; infinity if there is no limit.
    """

    weight: Tensor
    alpha: Tensor
    eta: Tensor | None
    modulator: Neuromodulator | Gates | None
    trace_limit: float

    def __init__(self) -> None:
        super().__init__()
        self.eta = self.modulator = None
        self.trace_limit = math.inf

    def modulation(self, activity: Tensor) -> Tensor | None:
        """Return the rate that ``modulator`` computes, (..., 1) or (..., O); None without one."""
        return None


class PlasticConnection(Connection):
    """A plastic layer. It does not store its trace: its methods take the trace as an argument.

    Args:
        pre_size: number of pre-synaptic neurons, I.
        post_size: number of post-synaptic neurons, O.
        plasticity: the options.

    Attributes:
        weight: w (O, I); it has no gradient if ``plasticity.train_weights`` is false.
        alpha: (O, I), (O, 1) or (1, 1).
        eta: (1,), or None with simple or gated modulation.
        coefficients: a, b, c and d (4, O, I) of the rule ``abcd``, else None.
        modulator: the neuromodulator, or the gates, or None without modulation.
    """

    def __init__(self, pre_size: int, post_size: int, plasticity: Plasticity) -> None:
        super().__init__()
        self.plasticity = plasticity
        shapes = {"connection": (post_size, pre_size), "neuron": (post_size, 1), "scalar": (1, 1)}
        weight = torch.empty(post_size, pre_size)
        self.weight = nn.Parameter(weight, requires_grad=plasticity.train_weights)
        self.alpha = nn.Parameter(torch.empty(shapes[plasticity.alpha]))
        self.eta = nn.Parameter(torch.empty(1)) if plasticity.has_eta else None
        is_abcd = plasticity.rule == "abcd"
        self.coefficients = nn.Parameter(torch.empty(4, post_size, pre_size)) if is_abcd else None
        self.modulator = self._build_modulator(post_size)
        self.trace_limit = trace_limit(plasticity.bound, plasticity.clip)
        self.reset_parameters()

    def _build_modulator(self, post_size: int) -> Neuromodulator | Gates | None:
        options = self.plasticity
        if options.modulation == "none":
            return None
        if options.modulation == "gated":
            return Gates(post_size, post_size, options.fan_out)
        pair = options.modulator == "pair"
        activation = options.modulator_activation
        return Neuromodulator(post_size, post_size, activation, options.fan_out, pair)

    def reset_parameters(self) -> None:
        """Draw w from U(-1/sqrt(I), 1/sqrt(I)), and initialize alpha and eta as in the options."""
        limit = 1 / math.sqrt(self.weight.shape[1])
        nn.init.uniform_(self.weight, -limit, limit)
        fill_randomly(self.alpha, self.plasticity.alpha_init, self.plasticity.alpha_scale)
        if self.eta is not None:
            nn.init.constant_(self.eta, self.plasticity.eta_init)
        if self.coefficients is not None:
            # At first the rule is Hebb's, with small parts of the others.
            nn.init.normal_(self.coefficients, std=COEFFICIENT_STD)
            with torch.no_grad():
                self.coefficients[0] += 1

    def initial_traces(self, batch_size: int) -> tuple[Tensor, Tensor | None]:
        """Return H and E (B, O, I), all zero; E is None unless modulation is retroactive."""
        trace = self.weight.new_zeros(batch_size, *self.weight.shape[-2:])
        retroactive = self.plasticity.modulation == "retroactive"
        return trace, torch.zeros_like(trace) if retroactive else None

    def forward(self, pre: Tensor, trace: Tensor) -> Tensor:
        """Return the pre-activation y (B, O), from ``pre`` x (B, I) and ``trace`` H (B, O, I)."""
        plastic = torch.bmm(self.alpha * trace, pre.unsqueeze(2)).squeeze(2)
        return F.linear(pre, self.weight) + plastic

    def modulation(self, activity: Tensor) -> Tensor | None:
        """Return M(t) or b(t), (..., 1) or with fan-out (..., O); None without modulation."""
        return None if self.modulator is None else self.modulator(activity)

    def update(
        self,
        trace: Tensor,
        eligibility: Tensor | None,
        pre: Tensor,
        post: Tensor,
        activity: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the new traces H and E; E is None unless modulation is retroactive.

        Args:
            trace: H before the step (B, O, I).
            eligibility: E before the step (B, O, I); None unless modulation is retroactive.
            pre: pre-synaptic activity (B, I).
            post: post-synaptic activity (B, O).
            activity: the activity that the neuromodulator reads (B, O).
        """
        if isinstance(self.modulator, Gates):
            trace = self.modulator.retention(activity).unsqueeze(2) * trace
        trained = () if self.coefficients is None else (self.coefficients,)
        increment = RULES[self.plasticity.rule](trace, pre, post, *trained)
        bound = BOUNDS[self.plasticity.bound]
        modulation = self.modulation(activity)
        rate = self.eta if modulation is None else modulation.unsqueeze(2)
        assert rate is not None
        if eligibility is None:
            return bound(trace, increment, rate, self.plasticity.clip), None
        assert self.eta is not None
        if self.plasticity.eligibility_squash == "tanh":
            increment = torch.tanh(increment)
        return (
            bound(trace, eligibility, rate, self.plasticity.clip),
            (1 - self.eta) * eligibility + self.eta * increment,
        )


@torch.no_grad()
def fill_randomly(parameter: Tensor, distribution: str, scale: float) -> None:
    """Fill a parameter with random values, in place.

    Args:
        distribution: "uniform" for U(0, scale), "normal" for N(0, scale^2).
    """
    if distribution == "uniform":
        parameter.uniform_(0.0, scale)
    else:
        parameter.normal_(0.0, scale)
