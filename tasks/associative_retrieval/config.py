"""Options and presets of answering which digit was shown with a letter."""

from dataclasses import dataclass
from typing import ClassVar

from plasticrl.core.cells.configs import PlasticRNNConfig, STPNConfig
from plasticrl.runs import UsageError
from plasticrl.tasks.config import CoreTaskConfig

N_LETTERS, N_DIGITS = 26, 10


@dataclass(frozen=True, kw_only=True)
class AssociativeRetrievalConfig(CoreTaskConfig):
    """Answer which digit was shown after a letter; Ba et al. 2016."""

    name: ClassVar[str] = "associative-retrieval"

    n_pairs: int = 3
    """Number of pairs of a letter and a digit that are shown."""
    extra_steps: int = 0
    """Number of steps without input after the last letter. The digit is answered at the last of
    them; with 0, at the step of the letter."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.n_pairs <= N_LETTERS:
            raise UsageError(f"n_pairs must be from 1 to {N_LETTERS}, not {self.n_pairs}")
        self._check_at_least("extra_steps", 0)


def associative_retrieval_quickstart() -> AssociativeRetrievalConfig:
    """Three pairs, answered one step after the letter, so that a plastic RNN can recall them."""
    return AssociativeRetrievalConfig(
        extra_steps=1,
        core=PlasticRNNConfig(hidden_size=50),
        batch_size=64,
        n_updates=2_000,
        learning_rate=3e-3,
    )


def associative_retrieval_paper() -> AssociativeRetrievalConfig:
    """Three pairs, with the sizes of the STPN's authors: 11 units, 20 million training episodes.

    Garcia Rodriguez et al. 2022 (arXiv 2206.14048) and their published code: Adam 1e-3, batches of
    128. They repeat 100,000 episodes 200 times; here, every episode is new.
    """
    return AssociativeRetrievalConfig(
        core=STPNConfig(hidden_size=11),
        batch_size=128,
        n_updates=156_250,
        learning_rate=1e-3,
        evaluation_episodes=20_000,
    )


PRESETS = {
    "associative-retrieval-quickstart": associative_retrieval_quickstart,
    "associative-retrieval-paper": associative_retrieval_paper,
}
