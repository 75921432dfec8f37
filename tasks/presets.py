"""Supervised runs by name, ``<task>-<scale>``: quickstart, within minutes; paper, as published.

A preset is a plain function whose docstring says where its numbers come from.
"""

from collections.abc import Callable
from dataclasses import replace

from plasticrl.tasks.config import BohpConfig, PatternsConfig, TaskConfig


def patterns_quickstart() -> PatternsConfig:
    """Five patterns of 200 bits, completed from half of their bits."""
    return PatternsConfig(n_bits=200, batch_size=5, n_updates=400, learning_rate=1e-3)


def patterns_paper() -> PatternsConfig:
    """Five patterns of 1,000 bits; DP 2018 (arXiv 1804.02464) section 4.1: 106 steps, Adam 3e-4."""
    return PatternsConfig(batch_size=1, n_updates=2_000, threads=2)


def patterns_comparison() -> PatternsConfig:
    """Two patterns of 50 bits, against an RNN of 2,051 units and an LSTM of 2,000; DP 2018."""
    return PatternsConfig(
        n_bits=50,
        n_patterns=2,
        n_cycles=1,
        steps_on=3,
        steps_off=1,
        probe_steps=3,
        batch_size=1,
        n_updates=2_000,
        rnn_control=2_051,
        lstm_control=2_000,
    )


def bohp_completion() -> BohpConfig:
    """One of eight bits recalls the others; BOHP 2016 (arXiv 1609.02228): 5,000 episodes."""
    return BohpConfig(batch_size=1, n_updates=5_000, learning_rate=0.03)


def bohp_one_shot() -> BohpConfig:
    """Two patterns, each shown once with its label; BOHP 2016: 10,000 episodes."""
    return BohpConfig(
        problem="one-shot",
        retention=0.98,
        l1=1e-4,
        max_step=0.01,
        batch_size=1,
        n_updates=10_000,
        learning_rate=0.01,
    )


def bohp_reversal() -> BohpConfig:
    """The same, and half-way the labels are swapped; BOHP 2016: 10,000 episodes."""
    return replace(bohp_one_shot(), problem="reversal")


PRESETS: dict[str, Callable[[], TaskConfig]] = {
    "patterns-quickstart": patterns_quickstart,
    "patterns-paper": patterns_paper,
    "patterns-comparison": patterns_comparison,
    "bohp-completion-paper": bohp_completion,
    "bohp-one-shot-paper": bohp_one_shot,
    "bohp-reversal-paper": bohp_reversal,
}
