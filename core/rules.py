"""Trace updates: learning rules, which compute an increment D, and bounds, which limit the trace H.

With pre-synaptic activity x(t-1) (B, I), post-synaptic activity x(t) (B, O) and trace H (B, O, I):

    Hebb    D[j, i] = x(t)[j] x(t-1)[i]
    Oja     D[j, i] = x(t)[j] ( x(t-1)[i] - x(t)[j] H[j, i] )

    none    H <- H + r D
    hard    H <- clamp( H + r D, -clip, clip )
    soft    H <- clamp( H + r D - |r D| H, -1, 1 )
    decay   H <- (1 - r) H + r D

The rate r is eta or the modulation M(t). In retroactive modulation, D is the eligibility trace. The
soft bound is the papers' max(d, 0) (1 - H) + min(d, 0) (1 + H) with d = r D, in a form whose
automatic derivative is also correct at d = 0.

Sources: DP 2018 (arXiv 1804.02464) section 2; BP 2019 (arXiv 2002.10585) section 3.
"""

import math
from collections.abc import Callable

from torch import Tensor

Increment = Callable[[Tensor, Tensor, Tensor], Tensor]
Bounded = Callable[[Tensor, Tensor, Tensor, float], Tensor]

SOFT_LIMIT = 1.0
"""Largest absolute value of a trace under the soft bound."""


def hebb(trace: Tensor, pre: Tensor, post: Tensor) -> Tensor:
    """D[j, i] = post[j] pre[i]; (B, O, I) from trace (B, O, I), pre (B, I), post (B, O)."""
    return post.unsqueeze(2) * pre.unsqueeze(1)


def oja(trace: Tensor, pre: Tensor, post: Tensor) -> Tensor:
    """D[j, i] = post[j] (pre[i] - post[j] H[j, i]); shapes as ``hebb``."""
    post = post.unsqueeze(2)
    return post * (pre.unsqueeze(1) - post * trace)


def unbounded(trace: Tensor, increment: Tensor, rate: Tensor, clip: float) -> Tensor:
    """H + r D; trace and increment (B, O, I), rate broadcast to them."""
    return trace + rate * increment


def hard(trace: Tensor, increment: Tensor, rate: Tensor, clip: float) -> Tensor:
    """clamp(H + r D, -clip, clip); shapes as ``unbounded``."""
    return (trace + rate * increment).clamp(-clip, clip)


def soft(trace: Tensor, increment: Tensor, rate: Tensor, clip: float) -> Tensor:
    """clamp(H + r D - |r D| H, -1, 1): smaller steps near the bound; shapes as ``unbounded``."""
    delta = rate * increment
    return (trace + delta - delta.abs() * trace).clamp(-SOFT_LIMIT, SOFT_LIMIT)


def decay(trace: Tensor, increment: Tensor, rate: Tensor, clip: float) -> Tensor:
    """(1 - r) H + r D; shapes as ``unbounded``."""
    return (1 - rate) * trace + rate * increment


RULES: dict[str, Increment] = {"hebb": hebb, "oja": oja}
BOUNDS: dict[str, Bounded] = {"none": unbounded, "hard": hard, "soft": soft, "decay": decay}


def trace_limit(bound: str, clip: float) -> float:
    """Largest absolute value that a bound allows a trace; infinity if it sets no limit."""
    return {"hard": clip, "soft": SOFT_LIMIT}.get(bound, math.inf)
