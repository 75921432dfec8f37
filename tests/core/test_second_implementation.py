"""The cells against a second implementation, which is written from the papers' equations.

It uses NumPy and plain loops over rows and neurons, and nothing of ``plasticrl.core``.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plasticrl.core import build_cell, sequence

T, B, N_INPUTS, N = 7, 3, 4, 5
CLIP = 0.3
Numbers = NDArray[np.float64]
Parameters = dict[str, Numbers]
Step = Callable[[Parameters, Numbers, list[Numbers]], list[Numbers]]
"""From the parameters, one row's input and its state (activity first) to the new state."""


def softplus(x: Numbers) -> Numbers:
    return np.log1p(np.exp(x))


def sigmoid(x: Numbers) -> Numbers:
    return 1 / (1 + np.exp(-x))


def linear(p: Parameters, name: str, x: Numbers) -> Numbers:
    return p[f"{name}.weight"] @ x + p[f"{name}.bias"]


def increment(rule: str, p: Parameters, trace: Numbers, pre: Numbers, post: Numbers) -> Numbers:
    found = np.zeros_like(trace)
    length = math.sqrt(sum(x * x for x in pre)) or 1.0
    for j in range(len(post)):
        recalled = sum(trace[j, i] * pre[i] / length for i in range(len(pre)))
        for i in range(len(pre)):
            if rule == "abcd":
                a, b, c, d = p["connection.coefficients"][:, j, i]
                found[j, i] = a * post[j] * pre[i] + b * pre[i] + c * post[j] + d
            elif rule == "delta":
                found[j, i] = (post[j] - recalled) * pre[i] / length
            elif rule == "oja":
                found[j, i] = post[j] * (pre[i] - post[j] * trace[j, i])
            else:
                found[j, i] = post[j] * pre[i]
    return found


def plastic_rnn(options: dict[str, Any]) -> Step:
    """Miconi et al. 2019; the delta rule of Schlag et al. 2021 with the gates of Yang et al. 2024;
    the coefficients of Najarro & Risi 2020; the modulation of Miconi & Kay 2025."""
    rule, modulation = options.get("rule", "hebb"), options.get("modulation", "none")
    fan_out = options.get("fan_out", False)

    def gate(p: Parameters, name: str, x: Numbers) -> Numbers:
        signal = linear(p, f"connection.modulator.{name}.0", x)
        return linear(p, f"connection.modulator.{name}.1", signal) if fan_out else signal

    def rate(p: Parameters, x: Numbers) -> Numbers:
        if modulation == "none":
            return p["connection.eta"]
        if modulation == "gated":
            return sigmoid(gate(p, "rate_gate", x))
        signal = np.tanh(linear(p, "connection.modulator", x))
        if options.get("modulator") == "pair":
            signal = p["connection.modulator.gain"] * (signal[:1] - signal[1:])
        return linear(p, "connection.modulator.fan_out", signal) if fan_out else signal

    def step(p: Parameters, u: Numbers, state: list[Numbers]) -> list[Numbers]:
        pre, trace, *eligibility = state
        weights = p["connection.weight"] + p["connection.alpha"] * trace
        post = np.tanh(linear(p, "input", u) + weights @ pre)
        r = np.broadcast_to(rate(p, post), (N,))
        if modulation == "gated":
            decay = np.exp(p["connection.modulator.log_decay"])
            retention = np.exp(-decay * softplus(gate(p, "retention_gate", post)))
            trace = np.broadcast_to(retention, (N,))[:, None] * trace
        change = increment(rule, p, trace, pre, post)
        if not eligibility:
            return [post, np.clip(trace + r[:, None] * change, -CLIP, CLIP)]
        eta = p["connection.eta"]
        trace = np.clip(trace + r[:, None] * eligibility[0], -CLIP, CLIP)
        if options.get("eligibility_squash") == "tanh":
            change = np.tanh(change)
        return [post, trace, (1 - eta) * eligibility[0] + eta * change]

    return step


def fast_weights(options: dict[str, Any]) -> Step:
    """Ba et al. 2016, equations 1 and 2, with layer normalization."""

    def norm(p: Parameters, x: Numbers) -> Numbers:
        mean = x.mean()
        deviation = np.sqrt(((x - mean) ** 2).mean() + 1e-5)  # torch's epsilon
        return p["norm.weight"] * (x - mean) / deviation + p["norm.bias"]

    def step(p: Parameters, u: Numbers, state: list[Numbers]) -> list[Numbers]:
        before, trace = state
        drive = linear(p, "input", u) + p["connection.weight"] @ before
        hidden = np.maximum(0, norm(p, drive) if options.get("normalize_first", True) else drive)
        for _ in range(options.get("inner_steps", 1)):
            hidden = np.maximum(0, norm(p, drive + trace @ hidden))
        return [hidden, 0.9 * trace + 0.5 * np.outer(hidden, hidden)]

    return step


def stpn(options: dict[str, Any]) -> Step:
    """Garcia Rodriguez et al. 2022, with the normalization of the published code."""

    def step(p: Parameters, u: Numbers, state: list[Numbers]) -> list[Numbers]:
        before, trace = state
        z = np.concatenate([u, before])
        effective = p["connection.weight"] + trace
        hidden, after = np.zeros(N), np.zeros_like(trace)
        retention = np.broadcast_to(p["connection.retention"], trace.shape)
        gamma = np.broadcast_to(p["connection.rate"], trace.shape)
        for j in range(N):
            length = math.sqrt(sum(g * g for g in effective[j]))
            hidden[j] = math.tanh(effective[j] @ z / length + p["bias"][j])
            after[j] = retention[j] * trace[j] / length + gamma[j] * hidden[j] * z
        return [hidden, after]

    return step


def inner_gradient(options: dict[str, Any]) -> Step:
    """Duan et al. 2023; the gradient is that of central differences of the inner loss."""
    inner = options["inner_size"]

    def forward(weights: list[Numbers], u: Numbers, before: Numbers) -> list[Numbers]:
        first = np.maximum(0, weights[0] @ np.append(u, 1))
        hidden = np.maximum(0, weights[1] @ np.concatenate([first, before, [1]]))
        return [first, hidden, weights[2] @ np.append(hidden, 1)]

    def gradient(p: Parameters, weights: list[Numbers], u: Numbers, before: Numbers) -> Any:
        def loss() -> float:
            return float(((p["loss_scale"] * forward(weights, u, before)[2]) ** 2).mean())

        found = [np.zeros_like(matrix) for matrix in weights]
        for matrix, slopes in zip(weights, found, strict=True):
            for index in np.ndindex(matrix.shape):
                value, ends = matrix[index], []
                for sign in (1, -1):
                    matrix[index] = value + sign * 1e-4
                    ends.append(loss())
                matrix[index] = value
                slopes[index] = (ends[0] - ends[1]) / 2e-4
        return found

    def step(p: Parameters, u: Numbers, state: list[Numbers]) -> list[Numbers]:
        before, trace, input_trace, output_trace = state
        traces = [input_trace, trace, output_trace]
        names = ("input", "connection", "output")
        weights = [
            p[f"{name}.weight"] + p[f"{name}.alpha"] * old
            for name, old in zip(names, traces, strict=True)
        ]
        first, hidden, outputs = forward(weights, u, before)
        if options.get("inner_rule") == "hebb":
            pres = [np.append(u, 0), np.concatenate([first, before, [0]]), np.append(hidden, 0)]
            posts = (first, hidden, outputs)
            changes = [np.outer(*pair) for pair in zip(posts, pres, strict=True)]
        else:
            changes = gradient(p, weights, u, before)
        length = math.sqrt(sum((change**2).sum() for change in changes))
        rate = 0.1 * 2 * sigmoid(outputs[-1])
        new = [
            (1 - rate) * old + rate * min(1, 1 / length) * change
            for old, change in zip(traces, changes, strict=True)
        ]
        assert len(hidden) == inner
        return [hidden, new[1], new[0], new[2]]

    return step


SECOND: dict[str, Callable[[dict[str, Any]], Step]] = {
    "plastic_rnn": plastic_rnn,
    "fast_weights": fast_weights,
    "stpn": stpn,
    "inner_gradient": inner_gradient,
}
SQUASHED = {"modulation": "retroactive", "eligibility_squash": "tanh"}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("plastic_rnn", {"rule": "oja"}),
    ("plastic_rnn", {"rule": "delta"}),
    ("plastic_rnn", {"rule": "delta", "modulation": "simple", "fan_out": True}),
    ("plastic_rnn", {"rule": "delta", "modulation": "retroactive"}),
    ("plastic_rnn", {"rule": "delta", "modulation": "gated"}),
    ("plastic_rnn", {"rule": "delta", "modulation": "gated", "fan_out": True}),
    ("plastic_rnn", {"modulation": "gated", "fan_out": True}),
    ("plastic_rnn", {"rule": "abcd"}),
    ("plastic_rnn", {"rule": "abcd", "modulation": "retroactive"}),
    ("plastic_rnn", SQUASHED),
    ("plastic_rnn", {**SQUASHED, "modulator": "pair"}),
    ("plastic_rnn", {**SQUASHED, "modulator": "pair", "fan_out": True}),
    ("fast_weights", {}),
    ("fast_weights", {"inner_steps": 3}),
    ("fast_weights", {"normalize_first": False}),
    ("stpn", {}),
    ("stpn", {"coefficients": "scalar"}),
    ("inner_gradient", {"inner_size": 3}),
    ("inner_gradient", {"inner_size": 3, "inner_rule": "hebb"}),
]


def filled(cell: nn.Module) -> Parameters:
    """Fill all parameters with normal numbers, and return them."""
    generator = torch.Generator().manual_seed(1)
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=0.6, generator=generator)
    return {name: value.detach().numpy() for name, value in cell.named_parameters()}


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_outputs_and_states_of_every_step(name: str, options: dict[str, Any]) -> None:
    """Otherwise an equation of the cell differs from the paper's."""
    bounded = {"clip": CLIP} if name == "plastic_rnn" else {}
    cell = build_cell(name, N_INPUTS, hidden_size=N, **bounded, **options).double()
    parameters, step = filled(cell), SECOND[name](options)
    inputs = torch.randn(T, B, N_INPUTS, generator=torch.Generator().manual_seed(2)).double()
    state: Any = cell.initial_state(B)
    theirs = [[leaf[row].numpy() for leaf in state if leaf is not None] for row in range(B)]
    for t in range(T):
        outputs, state = sequence(cell, inputs[t : t + 1], state)
        theirs = [step(parameters, inputs[t, row].numpy(), theirs[row]) for row in range(B)]
        ours: list[Tensor] = [leaf for leaf in state if leaf is not None]
        for leaf, expected in zip(ours, zip(*theirs, strict=True), strict=True):
            np.testing.assert_allclose(leaf.detach(), np.stack(expected), rtol=1e-9, atol=1e-9)
        if name != "inner_gradient":  # the only cell whose output is not its activity
            assert torch.equal(outputs[0], ours[0])
    assert ours[1].abs().max() > 0.01, "the trace has moved"
