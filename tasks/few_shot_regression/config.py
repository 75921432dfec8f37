"""Options and presets of learning a function from a few points within an episode."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from plasticrl.core.cells.configs import InnerGradientConfig, PlasticRNNConfig
from plasticrl.runs import UsageError
from plasticrl.tasks.config import CoreTaskConfig

Function = Literal["linear", "tanh"]


@dataclass(frozen=True, kw_only=True)
class FewShotRegressionConfig(CoreTaskConfig):
    """Learn a random function from a few of its points; Duan et al. 2023."""

    name: ClassVar[str] = "few-shot-regression"

    function: Function = "linear"
    """What is learned. linear: a random linear function; tanh: a random net with a layer of two
    tanh units."""
    n_dimensions: int = 12
    """Number of inputs of the function."""
    n_points: int = 20
    """Number of points whose value is shown."""
    n_queries: int = 20
    """Number of points after them, whose value has to be predicted."""
    noise: float = 0.1
    """Standard deviation of the noise that is added to the values that are shown."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.function not in ("linear", "tanh"):
            raise UsageError(f"function must be linear or tanh, not {self.function!r}")
        for name in ("n_dimensions", "n_points", "n_queries"):
            self._check_at_least(name, 1)
        self._check_positive("noise")


def few_shot_regression_quickstart() -> FewShotRegressionConfig:
    """Linear functions of two inputs, from ten points."""
    return FewShotRegressionConfig(
        n_dimensions=2,
        n_points=10,
        n_queries=10,
        core=PlasticRNNConfig(hidden_size=50),
        batch_size=64,
        n_updates=3_000,
        learning_rate=1e-3,
    )


def few_shot_regression_paper() -> FewShotRegressionConfig:
    """Linear functions of twelve inputs, from twenty points, one of Duan et al. 2023's settings.

    Duan, Jia & Ito 2023 (arXiv 2302.03235) and their published code: 256 units, batches of 64,
    10,000 updates, a learning rate of 1e-3. They use the AMSGrad variant of Adam.
    """
    return FewShotRegressionConfig(
        core=InnerGradientConfig(hidden_size=1, inner_size=256),
        batch_size=64,
        n_updates=10_000,
        learning_rate=1e-3,
    )


PRESETS = {
    "few-shot-regression-quickstart": few_shot_regression_quickstart,
    "few-shot-regression-paper": few_shot_regression_paper,
}
