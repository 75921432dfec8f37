"""Unseen characters after one look at each: what it is made of, its data, and the presets."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from plasticrl.runs import UsageError
from plasticrl.tasks.config import DataTaskConfig
from plasticrl.tasks.data import EmbeddedDataSet, ExternalDataSet, File

FOLDER = Path(__file__).parent
DRAWINGS = 20
"""Of each character of Omniglot."""

SHEET = EmbeddedDataSet(
    "glyphs",
    "omniglot",
    FOLDER / "glyphs.png",
    "f710d0f1661c3ea1bdce3266e197a9890af33650f62efff879e1eade7b13dba1",
    "1,092 letters of 15 scripts, from DejaVu Sans 2.35 (its free licence: ATTRIBUTION.md)",
)
INDEX = EmbeddedDataSet(
    "glyphs-index",
    "omniglot",
    FOLDER / "glyphs.json",
    "d0e7c3703cda3f4889ce7626dc1932a68288cc018c82fdb8d119ff3e16c58eac",
    "which letter stands where on the sheet, and which scripts are held out",
)
OMNIGLOT = ExternalDataSet(
    "Omniglot",
    "omniglot",
    (
        File("images_background.zip", "68d2efa1b9178cc56df9314c21c6e718"),
        File("images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811"),
    ),
    "--data glyphs",
    unpacked_folders=("images_background", "images_evaluation"),
)
DATA_SETS = (SHEET, INDEX, OMNIGLOT)


@dataclass(frozen=True, kw_only=True)
class OmniglotConfig(DataTaskConfig):
    """Tell characters of unseen scripts apart after one look at each; DP 2018, section 4.4."""

    task: ClassVar[str] = "omniglot"
    external_data: ClassVar[str] = "omniglot"

    data: Literal["glyphs", "omniglot"] = "glyphs"
    """glyphs, the embedded stand-in; or omniglot, which you bring."""
    rule: Literal["hebb", "oja"] = "oja"
    """How the readout's trace moves."""
    n_ways: int = 5
    """Characters of an episode, each shown once with its label."""
    n_queries: int = 1
    """Unlabelled images of a training episode, each asked of the trace that the labelled ones left;
    a held-out episode has one."""
    channels: int = 64
    """Of each of the four convolutions, and so numbers of the embedding."""
    eta_init: float = 0.01
    """Plasticity rate to start from."""
    alpha_scale: float = 0.01
    """Plasticity coefficients start from U(0, alpha_scale)."""
    decay: float = 0.666
    """What the learning rate is multiplied with ..."""
    decay_every: int = 1_000_000
    """... whenever so many updates are done."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_queries", "channels", "decay_every"):
            self._check_at_least(name, 1)
        self._check_at_least("n_ways", 2)
        if self.n_ways + self.n_queries > DRAWINGS:
            raise UsageError(
                f"n_ways and n_queries together must be at most {DRAWINGS}, the drawings of a "
                f"character, not {self.n_ways + self.n_queries}"
            )
        self._check_positive("eta_init", "alpha_scale", "decay")
        if self.rule == "hebb" and self.eta_init >= 1:
            raise UsageError(
                f"eta_init must be below 1 with rule='hebb', not {self.eta_init}: from 1 on a new "
                "image wipes out the trace of all earlier ones"
            )


def omniglot_quickstart() -> OmniglotConfig:
    """Letters of scripts never seen, in minutes."""
    return replace(omniglot_tuned(), n_updates=800, decay_every=200)


def omniglot_tuned() -> OmniglotConfig:
    """Letters of scripts never seen, as well as we know how to.

    The plasticity counts from the start (eta 1, alpha larger than the paper's), the batch is larger
    and every training episode has several queries.
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
    """The paper's net and rates, its data with --data omniglot; DP 2018 (arXiv 1804.02464) 4.4."""
    return OmniglotConfig(batch_size=1, n_updates=5_000_000, learning_rate=3e-5, threads=2)


PRESETS = {
    "omniglot-quickstart": omniglot_quickstart,
    "omniglot-tuned": omniglot_tuned,
    "omniglot-paper": omniglot_paper,
}
