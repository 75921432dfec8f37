"""Options and presets of repeating a series of numbers after a delay."""

from dataclasses import dataclass
from typing import ClassVar

from plasticrl.core.cells.configs import InnerGradientConfig, PlasticRNNConfig
from plasticrl.tasks.config import CoreTaskConfig


@dataclass(frozen=True, kw_only=True)
class CopyDelayConfig(CoreTaskConfig):
    """Repeat a series of numbers after a delay; Duan et al. 2023."""

    name: ClassVar[str] = "copy-delay"

    n_values: int = 5
    """Numbers that are shown, one at each step, and have to be repeated in the same order."""
    n_blanks: int = 0
    """Number of steps between the last number and the first answer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least("n_values", 1)
        self._check_at_least("n_blanks", 0)


def copy_delay_quickstart() -> CopyDelayConfig:
    """Five numbers, repeated after five steps."""
    return CopyDelayConfig(
        n_values=5,
        n_blanks=5,
        core=PlasticRNNConfig(hidden_size=50),
        batch_size=64,
        n_updates=2_000,
        learning_rate=1e-3,
    )


def copy_delay_paper() -> CopyDelayConfig:
    """Twenty numbers, repeated after twenty steps: one of the settings of Duan et al. 2023.

    Duan, Jia & Ito 2023 (arXiv 2302.03235) and their published code: 256 units, batches of 64,
    10,000 updates, a learning rate of 1e-3. They use the AMSGrad variant of Adam.
    """
    return CopyDelayConfig(
        n_values=20,
        n_blanks=20,
        core=InnerGradientConfig(hidden_size=1, inner_size=256),
        batch_size=64,
        n_updates=10_000,
        learning_rate=1e-3,
    )


PRESETS = {
    "copy-delay-quickstart": copy_delay_quickstart,
    "copy-delay-paper": copy_delay_paper,
}
