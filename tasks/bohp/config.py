"""One plastic layer that completes, learns at once and reverses: its options, and the presets."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from plasticrl.runs import UsageError
from plasticrl.tasks.config import TaskConfig

Problem = Literal["completion", "one-shot", "reversal"]


@dataclass(frozen=True, kw_only=True)
class BohpConfig(TaskConfig):
    """Completion, one-shot and reversal learning by one plastic layer; BOHP 2016."""

    task: ClassVar[str] = "bohp"

    problem: Problem = "completion"
    """completion, one-shot or reversal."""
    retention: float = 0.5
    """How much of the trace a step keeps."""
    n_hidden: int = 2
    """Plastic units of one-shot and reversal; completion has one for each bit."""
    l1: float = 1e-3
    """By how much an update brings each parameter nearer to zero."""
    max_step: float = 0.1
    """Largest change of a parameter in an update, before that."""
    alpha_at_least_zero: bool = False
    """Clip the plasticity coefficients at zero, which makes reversal impossible."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.retention < 1:
            raise UsageError(f"retention must be from 0 to below 1, not {self.retention}")
        if not 0 <= self.l1 < float("inf"):
            raise UsageError(f"l1 must be a finite number of at least 0, not {self.l1}")
        self._check_positive("max_step")
        self._check_at_least("n_hidden", 1)
        if self.problem == "completion" and self.n_hidden != BohpConfig.n_hidden:
            raise UsageError("n_hidden has no meaning with problem=completion")


def bohp_quickstart() -> BohpConfig:
    """Reversal with eight plastic units for the paper's two, so that every run learns it."""
    return replace(bohp_reversal(), n_hidden=8, n_updates=3_000)


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


PRESETS = {
    "bohp-quickstart": bohp_quickstart,
    "bohp-completion-paper": bohp_completion,
    "bohp-one-shot-paper": bohp_one_shot,
    "bohp-reversal-paper": bohp_reversal,
}
