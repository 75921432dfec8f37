"""Memorise random patterns, then complete one: what it is made of, and the presets."""

from dataclasses import dataclass
from typing import ClassVar

from plasticrl.runs import UsageError
from plasticrl.tasks.config import TaskConfig


@dataclass(frozen=True, kw_only=True)
class PatternsConfig(TaskConfig):
    """Memorise random patterns of bits, then complete one of them; DP 2018, section 4.1."""

    task: ClassVar[str] = "patterns"

    n_bits: int = 1_000
    """Bits of a pattern, each -1 or 1."""
    n_patterns: int = 5
    """Patterns of an episode."""
    n_cycles: int = 2
    """How often each is shown."""
    steps_on: int = 6
    """Steps a pattern is shown."""
    steps_off: int = 4
    """Steps without input after it."""
    probe_steps: int = 6
    """Steps the degraded pattern is shown, the last of which is the answer."""
    input_gain: float = 20.0
    """What an input is multiplied with before it is added to a unit's drive."""
    target_error: float = 0.0
    """Train a net until its share of wrong bits in 200 new episodes, looked at every 50 updates, is
    this or less; 0: for all updates."""
    control_learning_rate: float = 0.0
    """Of the RNN and the LSTM; 0: the same as of the plastic net."""
    rnn_control: int = 0
    """Units of a larger non-plastic net trained as a further control; 0: none."""
    lstm_control: int = 0
    """Units of an LSTM trained as a further control; 0: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_bits", "n_patterns", "n_cycles", "steps_on", "probe_steps"):
            self._check_at_least(name, 1)
        self._check_at_least("n_bits", 2)
        self._check_at_least("steps_off", 0)
        for name in ("rnn_control", "lstm_control"):
            if getattr(self, name) and getattr(self, name) <= self.n_bits:
                raise UsageError(f"{name} must be 0 or above n_bits={self.n_bits}")
        self._check_positive("input_gain")
        if not 0 <= self.target_error < 1:
            raise UsageError(f"target_error must be from 0 to below 1, not {self.target_error}")
        if not 0 <= self.control_learning_rate < float("inf"):
            raise UsageError(
                "control_learning_rate must be a finite number of at least 0, "
                f"not {self.control_learning_rate}"
            )


def patterns_quickstart() -> PatternsConfig:
    """Five patterns of 200 bits, completed from half of their bits."""
    return PatternsConfig(n_bits=200, batch_size=5, n_updates=400, learning_rate=1e-3)


def patterns_paper() -> PatternsConfig:
    """Five patterns of 1,000 bits; DP 2018 (arXiv 1804.02464) section 4.1: 106 steps, Adam 3e-4."""
    return PatternsConfig(batch_size=1, n_updates=2_000, threads=2)


def patterns_comparison() -> PatternsConfig:
    """Two patterns of 50 bits, against an RNN of 2,051 units and an LSTM of 2,000, to 1 % error.

    DP 2018: 11 steps, Adam 3e-5 for RNN and LSTM. The plastic net learns from fewest episodes at
    Adam 3e-3 (the paper's: 3e-4); 1,500 updates are where the others are given up.
    """
    return PatternsConfig(
        n_bits=50,
        n_patterns=2,
        n_cycles=1,
        steps_on=3,
        steps_off=1,
        probe_steps=3,
        batch_size=10,
        n_updates=1_500,
        learning_rate=3e-3,
        target_error=0.01,
        control_learning_rate=3e-5,
        rnn_control=2_051,
        lstm_control=2_000,
    )


PRESETS = {
    "patterns-quickstart": patterns_quickstart,
    "patterns-paper": patterns_paper,
    "patterns-comparison": patterns_comparison,
}
