"""What a supervised run is, as data. Knows no torch."""

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

KIND = "supervised"
"""Of a run directory."""


class TaskError(ValueError):
    """What was asked for cannot be: one sentence that names it and says what would do."""


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What every task has: how to train on it, and how to measure."""

    task: ClassVar[str]
    """The task's name."""

    seed: int = 0
    """Seed of the weights and of every episode."""
    device: str = "cpu"
    """cpu, or cuda (cuda:1, ...)."""
    threads: int = 1
    """Threads of torch on the CPU."""
    batch_size: int = 10
    """Episodes per update."""
    n_updates: int = 1_000
    """Updates of each net."""
    learning_rate: float = 3e-4
    """Adam's step size."""
    max_grad_norm: float = 5.0
    """Norm at which the gradient is clipped."""
    controls: bool = True
    """Train and measure the control nets too."""
    evaluation_episodes: int = 1_000
    """Held-out episodes to measure over."""

    def __post_init__(self) -> None:
        for name in ("threads", "batch_size", "n_updates"):
            self._at_least(name, 1)
        self._at_least("evaluation_episodes", 2)
        self._above_zero("learning_rate", "max_grad_norm")
        if not 0 <= self.seed < 2**31:
            raise TaskError(f"seed must be from 0 to {2**31 - 1}, not {self.seed}")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise TaskError(f"device must be cpu, cuda or cuda:N, not {self.device!r}")

    def _at_least(self, name: str, least: int) -> None:
        if getattr(self, name) < least:
            raise TaskError(f"{name} must be at least {least}, not {getattr(self, name)}")

    def _above_zero(self, *names: str) -> None:
        for name in names:
            if not 0 < getattr(self, name) < float("inf"):
                raise TaskError(
                    f"{name} must be a finite number above 0, not {getattr(self, name)}"
                )


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
    rnn_control: int = 0
    """Units of a larger non-plastic net trained as a further control; 0: none."""
    lstm_control: int = 0
    """Units of an LSTM trained as a further control; 0: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_bits", "n_patterns", "n_cycles", "steps_on", "probe_steps"):
            self._at_least(name, 1)
        self._at_least("n_bits", 2)
        self._at_least("steps_off", 0)
        for name in ("rnn_control", "lstm_control"):
            if getattr(self, name) and getattr(self, name) <= self.n_bits:
                raise TaskError(f"{name} must be 0 or above n_bits={self.n_bits}")
        self._above_zero("input_gain")


Problem = Literal["completion", "one-shot", "reversal"]


@dataclass(frozen=True, kw_only=True)
class BohpConfig(TaskConfig):
    """Completion, one-shot and reversal learning by one plastic layer; BOHP 2016."""

    task: ClassVar[str] = "bohp"

    problem: Problem = "completion"
    """completion, one-shot or reversal."""
    retention: float = 0.5
    """How much of the trace a step keeps."""
    l1: float = 1e-3
    """Weight of the sum of absolute weights and plasticity coefficients."""
    max_step: float = 0.1
    """Largest change of a parameter in an update."""
    alpha_at_least_zero: bool = False
    """Clip the plasticity coefficients at zero, which makes reversal impossible."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.retention < 1:
            raise TaskError(f"retention must be from 0 to below 1, not {self.retention}")
        if not 0 <= self.l1 < float("inf"):
            raise TaskError(f"l1 must be a finite number of at least 0, not {self.l1}")
        self._above_zero("max_step")
