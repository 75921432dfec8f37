"""Options and presets of memorizing random patterns and completing one of them."""

from dataclasses import dataclass
from typing import ClassVar

from plasticrl.runs import UsageError
from plasticrl.tasks.config import TaskConfig


@dataclass(frozen=True, kw_only=True)
class PatternsConfig(TaskConfig):
    """Memorize random patterns of bits, then complete one of them; DP 2018, section 4.1."""

    name: ClassVar[str] = "patterns"

    n_bits: int = 1_000
    """Bits per pattern, each -1 or 1."""
    n_patterns: int = 5
    """Patterns per episode."""
    n_cycles: int = 2
    """How often each pattern is shown."""
    steps_on: int = 6
    """Number of steps for which a pattern is shown."""
    steps_off: int = 4
    """Number of steps without input after each pattern."""
    probe_steps: int = 6
    """Number of steps for which the degraded pattern is shown; the answer is read at the last."""
    input_gain: float = 20.0
    """Factor by which the input is multiplied before it is added to a unit's drive."""
    target_error: float = 0.0
    """Stop training a net once its share of wrong bits is at most this, measured on 200 new
    episodes every 50 updates; 0: never stop early."""
    control_learning_rate: float = 0.0
    """Learning rate of the RNN and the LSTM; 0: that of the plastic net."""
    rnn_control: int = 0
    """Number of units of a larger non-plastic RNN as a further control; 0: no such control."""
    lstm_control: int = 0
    """Number of units of an LSTM as a further control; 0: no such control."""

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

    DP 2018: 11 steps, Adam 3e-5 for RNN and LSTM. The plastic net needs the fewest episodes with
    Adam 3e-3 (the paper: 3e-4). Training stops after 1,500 updates if the target is not reached.
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
