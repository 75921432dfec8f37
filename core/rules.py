"""Updates of the trace H: learning rules compute an increment D, and bounds add it to H.

A learning rule reads the activity pre[i] of each pre-synaptic neuron i and the activity post[j] of
each post-synaptic neuron j:

    hebb    D[j, i] = post[j] pre[i]
    oja     D[j, i] = post[j] ( pre[i] - post[j] H[j, i] )
    delta   D[j, i] = ( post[j] - (H p)[j] ) p[i],   p = pre / |pre|,  or 0 where pre = 0
    abcd    D[j, i] = a post[j] pre[i] + b pre[i] + c post[j] + d

The coefficients a, b, c and d of ``abcd`` are trained, for each connection by itself.

The delta rule corrects what the trace recalls for pre: after an update at rate 1, H p = post. The
length of pre is divided out because the update multiplies H by I - r p p^T, which would otherwise
make it diverge where ``r |pre|^2 > 2``. The trace can still diverge at rates below 0 or above 2.

A bound adds the increment at the rate r and limits the result. ``connection`` defines the rate.
With retroactive modulation, the eligibility trace takes the place of D:

    none    H <- H + r D
    hard    H <- clamp( H + r D, -clip, clip )
    soft    H <- clamp( H + r D - |r D| H, -1, 1 )
    decay   H <- (1 - r) H + r D

The papers write the soft bound as H + max(d, 0) (1 - H) + min(d, 0) (1 + H) with d = r D. The form
above is equivalent, and torch's gradient of it is also correct at d = 0.

Sources: DP 2018 (arXiv 1804.02464) section 2; BP 2019 (arXiv 2002.10585) section 3; for the delta
rule Schlag, Irie & Schmidhuber 2021 (arXiv 2102.11174), section 4.2, whose keys, values and rate
are replaced by pre, post and r; for ``abcd`` Najarro & Risi 2020 (arXiv 2007.02686), equation 1,
who find the coefficients by evolution.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

RuleFunction = Callable[..., Tensor]
"""From the trace, pre and post, and for ``abcd`` the coefficients, to the increment."""
BoundFunction = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""From the trace, the increment, the rate and clip, which only ``hard`` uses, to the new trace."""

SOFT_LIMIT = 1.0
"""The largest absolute value of a trace with the soft bound."""


def hebb(trace: Tensor, pre: Tensor, post: Tensor) -> Tensor:
    """Return ``D`` (B, O, I) by Hebb's rule, from trace (B, O, I), pre (B, I) and post (B, O)."""
    return post.unsqueeze(2) * pre.unsqueeze(1)


def oja(trace: Tensor, pre: Tensor, post: Tensor) -> Tensor:
    """Return ``D`` by Oja's rule; the shapes are those of ``hebb``."""
    post = post.unsqueeze(2)
    return post * (pre.unsqueeze(1) - post * trace)


def delta(trace: Tensor, pre: Tensor, post: Tensor) -> Tensor:
    """Return D by the delta rule; the shapes are those of ``hebb``."""
    squared = pre.square().sum(dim=1, keepdim=True)
    # Where pre is zero, the division is by one, so that its gradient is zero and not infinite.
    length = torch.where(squared > 0, squared, 1.0).sqrt()
    key = (pre / length).unsqueeze(2)
    recalled = torch.bmm(trace, key)
    return (post.unsqueeze(2) - recalled) * key.transpose(1, 2)


def abcd(trace: Tensor, pre: Tensor, post: Tensor, coefficients: Tensor) -> Tensor:
    """Return D by the rule ``abcd``, with coefficients (4, O, I); else as ``hebb``."""
    a, b, c, d = coefficients.unbind()
    pre, post = pre.unsqueeze(1), post.unsqueeze(2)
    return a * post * pre + b * pre + c * post + d


def unbounded(trace: Tensor, increment: Tensor, rate: Tensor, clip: float) -> Tensor:
    """Return ``H + r D`` (B, O, I), from trace ``H`` and increment ``D`` (B, O, I).

    The rate ``r`` is (1,), (B, 1, 1) or (B, O, 1).
    """
    return trace + rate * increment


def hard(trace: Tensor, increment: Tensor, rate: Tensor, clip: float) -> Tensor:
    """Return ``clamp(H + r D, -clip, clip)``; the shapes are those of ``unbounded``."""
    return (trace + rate * increment).clamp(-clip, clip)


def soft(trace: Tensor, increment: Tensor, rate: Tensor, clip: float) -> Tensor:
    """Return ``clamp(H + r D - |r D| H, -1, 1)``; the shapes are those of ``unbounded``."""
    delta = rate * increment
    return (trace + delta - delta.abs() * trace).clamp(-SOFT_LIMIT, SOFT_LIMIT)


def decay(trace: Tensor, increment: Tensor, rate: Tensor, clip: float) -> Tensor:
    """Return ``(1 - r) H + r D``; the shapes are those of ``unbounded``."""
    return (1 - rate) * trace + rate * increment


RULES: dict[str, RuleFunction] = {"hebb": hebb, "oja": oja, "delta": delta, "abcd": abcd}
"""The learning rules by name."""
BOUNDS: dict[str, BoundFunction] = {"none": unbounded, "hard": hard, "soft": soft, "decay": decay}
"""The bounds by name."""


def trace_limit(bound: str, clip: float) -> float:
    """Return the largest absolute value that a bound allows; infinity if it sets no limit."""
    return {"hard": clip, "soft": SOFT_LIMIT}.get(bound, math.inf)
