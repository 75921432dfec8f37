"""Options and presets of completion, one-shot and reversal learning with one plastic layer."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from plasticrl.runs import UsageError
from plasticrl.tasks.config import TaskConfig

Problem = Literal["completion", "one-shot", "reversal"]


@dataclass(frozen=True, kw_only=True)
class BohpConfig(TaskConfig):
    """Completion, one-shot and reversal learning with one plastic layer; BOHP 2016."""

    name: ClassVar[str] = "bohp"

    problem: Problem = "completion"
    """completion, one-shot or reversal."""
    retention: float = 0.5
    """Share of the trace that is kept from one step to the next."""
    n_hidden: int = 2
    """Number of plastic units with one-shot and reversal; completion has one unit per bit."""
    l1: float = 1e-3
    """Amount by which each update moves every parameter toward zero."""
    max_step: float = 0.1
    """Largest change of a parameter in one optimizer step, before it is moved toward zero."""
    alpha_at_least_zero: bool = False
    """Keep the plasticity coefficients from becoming negative, which makes reversal impossible."""

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
    """Reversal with eight plastic units, not the paper's two, so that every run learns it."""
    return replace(bohp_reversal(), n_hidden=8, n_updates=3_000)


def bohp_completion() -> BohpConfig:
    """Recall eight bits from one of them; BOHP 2016 (arXiv 1609.02228): 5,000 episodes."""
    return BohpConfig(batch_size=1, n_updates=5_000, learning_rate=0.03)


def bohp_one_shot() -> BohpConfig:
    """Learn the labels of two patterns shown once each; BOHP 2016: 10,000 episodes."""
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
    """One-shot learning with labels swapped half-way; BOHP 2016: 10,000 episodes."""
    return replace(bohp_one_shot(), problem="reversal")


PRESETS = {
    "bohp-quickstart": bohp_quickstart,
    "bohp-completion-paper": bohp_completion,
    "bohp-one-shot-paper": bohp_one_shot,
    "bohp-reversal-paper": bohp_reversal,
}
