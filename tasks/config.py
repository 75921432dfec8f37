"""What a supervised run is, as data. Knows no torch."""

import re
from dataclasses import dataclass
from typing import ClassVar

from plasticrl.runs import UsageError

KIND = "supervised"
"""Of a run directory."""


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
    """The optimizer's step size."""
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
            raise UsageError(f"seed must be from 0 to {2**31 - 1}, not {self.seed}")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"device must be cpu, cuda or cuda:N, not {self.device!r}")

    def _at_least(self, name: str, least: int) -> None:
        if getattr(self, name) < least:
            raise UsageError(f"{name} must be at least {least}, not {getattr(self, name)}")

    def _above_zero(self, *names: str) -> None:
        for name in names:
            if not 0 < getattr(self, name) < float("inf"):
                raise UsageError(
                    f"{name} must be a finite number above 0, not {getattr(self, name)}"
                )


@dataclass(frozen=True, kw_only=True)
class DataTaskConfig(TaskConfig):
    """A task whose data can be a set that the user brings."""

    brought: ClassVar[str]
    """The choice of ``data`` that stands for it."""

    data: str
    data_root: str | None = None
    """Folder of the data sets that are not embedded; by default what PLASTICRL_DATA names."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data_root is not None and self.data != self.brought:
            raise UsageError(f"data_root has no meaning with data={self.data!r}, which needs none")
