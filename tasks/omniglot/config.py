"""Options, data sets and presets of one-shot classification of characters."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from plasticrl.runs import UsageError
from plasticrl.tasks.config import DataTaskConfig
from plasticrl.tasks.data import EmbeddedDataSet, ExternalDataSet, File

FOLDER = Path(__file__).parent
N_DRAWINGS = 20
"""Number of drawings of each character in Omniglot."""

GLYPHS = EmbeddedDataSet(
    "glyphs",
    "omniglot",
    FOLDER / "glyphs.png",
    "f710d0f1661c3ea1bdce3266e197a9890af33650f62efff879e1eade7b13dba1",
    "1,092 letters of 15 scripts, from DejaVu Sans 2.35 (its free license: ATTRIBUTION.md)",
)
GLYPHS_INDEX = EmbeddedDataSet(
    "glyphs-index",
    "omniglot",
    FOLDER / "glyphs.json",
    "d0e7c3703cda3f4889ce7626dc1932a68288cc018c82fdb8d119ff3e16c58eac",
    "the letter at each position of glyphs, and which scripts are held out",
)
OMNIGLOT = ExternalDataSet(
    "Omniglot",
    "omniglot",
    (
        File("images_background.zip", "68d2efa1b9178cc56df9314c21c6e718"),
        File("images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811"),
    ),
    "glyphs",
    unpacked_folders=("images_background", "images_evaluation"),
)
DATA_SETS = (GLYPHS, GLYPHS_INDEX, OMNIGLOT)


@dataclass(frozen=True, kw_only=True)
class OmniglotConfig(DataTaskConfig):
    """Classify characters of unseen scripts after one example of each; DP 2018, section 4.4."""

    name: ClassVar[str] = "omniglot"
    external_data: ClassVar[str] = "omniglot"

    data: Literal["glyphs", "omniglot"] = "glyphs"
    """glyphs: embedded letters of a font; omniglot: the real data set, in the data root."""
    rule: Literal["hebb", "oja"] = "oja"
    """Learning rule of the readout's trace."""
    n_ways: int = 5
    """Characters per episode, each shown once with its label."""
    n_queries: int = 1
    """Unlabeled images per training episode, each classified with the trace after the labeled
    images; a held-out episode has one."""
    channels: int = 64
    """Channels of each of the four convolutions; the last give the size of the embedding."""
    eta_init: float = 0.01
    """Initial plasticity rate."""
    alpha_scale: float = 0.01
    """Initial plasticity coefficients are drawn from U(0, alpha_scale)."""
    decay: float = 0.666
    """Factor by which the learning rate is multiplied every decay_every updates."""
    decay_every: int = 1_000_000
    """Number of updates from one decay of the learning rate to the next."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_queries", "channels", "decay_every"):
            self._check_at_least(name, 1)
        self._check_at_least("n_ways", 2)
        if self.n_ways + self.n_queries > N_DRAWINGS:
            raise UsageError(
                f"n_ways and n_queries together must be at most {N_DRAWINGS}, the drawings of a "
                f"character, not {self.n_ways + self.n_queries}"
            )
        self._check_positive("eta_init", "alpha_scale", "decay")
        if self.rule == "hebb" and self.eta_init >= 1:
            raise UsageError(
                f"eta_init must be below 1 with rule='hebb', not {self.eta_init}: otherwise a "
                "new image erases the trace of all earlier ones"
            )


def omniglot_quickstart() -> OmniglotConfig:
    """Letters of unseen scripts, trained in minutes."""
    return replace(omniglot_tuned(), n_updates=800, decay_every=200)


def omniglot_tuned() -> OmniglotConfig:
    """Letters of unseen scripts, with the best options that we know.

    Plasticity is strong from the start (eta is 1, and alpha is larger than the paper's), the batch
    is larger, and every training episode has several queries.
    """
    return OmniglotConfig(
        n_queries=5,
        batch_size=16,
        n_updates=4_000,
        learning_rate=2e-3,
        decay=0.5,
        decay_every=1_000,
        eta_init=1.0,
        alpha_scale=0.2,
    )


def omniglot_paper() -> OmniglotConfig:
    """Letters with the net and learning rate of DP 2018 (arXiv 1804.02464) section 4.4."""
    return OmniglotConfig(batch_size=1, n_updates=5_000_000, learning_rate=3e-5, threads=2)


PRESETS = {
    "omniglot-quickstart": omniglot_quickstart,
    "omniglot-tuned": omniglot_tuned,
    "omniglot-paper": omniglot_paper,
}
