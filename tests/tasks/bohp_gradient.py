"""The gradient of a plastic layer as BOHP 2016 derives it, computed forward in time.

    y_j = tanh( sum_k (w_jk + alpha_jk H_jk) u_k )
    dy_j / dw_jk     = (1 - y_j^2) ( u_k        + sum_l alpha_jl u_l dH_jl / dw_jk )
    dy_j / dalpha_jk = (1 - y_j^2) ( u_k H_jk   + sum_l alpha_jl u_l dH_jl / dalpha_jk )
    H_jl <- g H_jl + (1 - g) u_l y_j,   therefore   dH_jl <- g dH_jl + (1 - g) u_l dy_j

It uses neither autograd nor ``plasticrl.core``, so that it can check both.
Source: BOHP 2016 (arXiv 1609.02228) section 3.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Derivatives(NamedTuple):
    """The outputs and their derivatives at every step."""

    outputs: Tensor
    """y, (T, B, O)."""
    by_weight: Tensor
    """dy_j / dw_jk, (T, B, O, I)."""
    by_alpha: Tensor
    """dy_j / dalpha_jk, (T, B, O, I)."""


def derivatives(weight: Tensor, alpha: Tensor, retention: float, inputs: Tensor) -> Derivatives:
    """Compute the outputs of the layer and their derivatives.

    Args:
        weight, alpha: (O, I).
        retention: g, the share of the trace that a step keeps.
        inputs: u, (T, B, I).
    """
    n_out, n_in = weight.shape
    trace = weight.new_zeros(inputs.shape[1], n_out, n_in)
    trace_by_weight = weight.new_zeros(*trace.shape, n_in)  # [b, j, l, k]
    trace_by_alpha = torch.zeros_like(trace_by_weight)
    steps = []
    for u in inputs:
        y = torch.tanh(torch.einsum("bjk,bk->bj", weight + alpha * trace, u))
        slope = (1 - y.square()).unsqueeze(2)
        direct_weight = u.unsqueeze(1).expand(-1, n_out, -1)
        direct_alpha = u.unsqueeze(1) * trace
        by_weight, by_alpha = (
            slope * (direct + torch.einsum("jl,bl,bjlk->bjk", alpha, u, trace_derivative))
            for direct, trace_derivative in (
                (direct_weight, trace_by_weight),
                (direct_alpha, trace_by_alpha),
            )
        )
        steps.append((y, by_weight, by_alpha))
        drive = (1 - retention) * u
        trace = retention * trace + torch.einsum("bl,bj->bjl", drive, y)
        trace_by_weight = retention * trace_by_weight + torch.einsum(
            "bl,bjk->bjlk", drive, by_weight
        )
        trace_by_alpha = retention * trace_by_alpha + torch.einsum("bl,bjk->bjlk", drive, by_alpha)
    return Derivatives(*(torch.stack(series) for series in zip(*steps, strict=True)))
