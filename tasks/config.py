"""The options that all supervised runs share. This module does not import torch."""

import re
from dataclasses import dataclass, field, fields
from typing import ClassVar

from plasticrl.core.cells import cell_entry
from plasticrl.core.cells.configs import CellConfig, PlasticRNNConfig
from plasticrl.runs import UsageError, check_seed
from plasticrl.runs.memory import MOST_THREADS

LARGEST = 10**9
"""The largest number of updates, episodes or units."""
KIND = "supervised"
"""The ``kind`` that the run directory of a supervised run has."""


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """The options of every task: how its nets are trained and evaluated."""

    name: ClassVar[str]
    """The task's name."""

    seed: int = 0
    """Seed of the initial weights and of all episodes."""
    device: str = "cpu"
    """cpu, or cuda (cuda:1, ...)."""
    threads: int = 1
    """Number of CPU threads that torch uses."""
    batch_size: int = 10
    """Episodes per update."""
    n_updates: int = 1_000
    """Number of updates for each net."""
    learning_rate: float = 3e-4
    """Learning rate of the optimizer."""
    max_grad_norm: float = 5.0
    """Norm at which the gradient is clipped."""
    controls: bool = True
    """Train and evaluate the control nets as well."""
    evaluation_episodes: int = 1_000
    """Number of held-out episodes in the evaluation."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, int) and value > LARGEST:
                raise UsageError(f"{item.name} must be at most {LARGEST}, not {value}")
        for name in ("threads", "batch_size", "n_updates"):
            self._check_at_least(name, 1)
        if self.threads > MOST_THREADS:
            raise UsageError(f"threads must be at most {MOST_THREADS}, not {self.threads}")
        self._check_at_least("evaluation_episodes", 2)
        self._check_positive("learning_rate", "max_grad_norm")
        check_seed(self.seed)
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"device must be cpu, cuda or cuda:N, not {self.device!r}")

    def _check_at_least(self, name: str, minimum: int) -> None:
        if getattr(self, name) < minimum:
            raise UsageError(f"{name} must be at least {minimum}, not {getattr(self, name)}")

    def _check_positive(self, *names: str) -> None:
        for name in names:
            if not 0 < getattr(self, name) < float("inf"):
                raise UsageError(
                    f"{name} must be a finite number above 0, not {getattr(self, name)}"
                )


@dataclass(frozen=True, kw_only=True)
class DataTaskConfig(TaskConfig):
    """The options of a task that can use a data set which the user supplies."""

    external_data: ClassVar[str]
    """The value of ``data`` that selects the data set which the user supplies."""

    data: str
    """Name of the data set."""
    data_root: str | None = None
    """Folder of the data sets that are not embedded; by default the value of PLASTICRL_DATA."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data_root is not None and self.data != self.external_data:
            raise UsageError(
                f"data_root has no meaning with data={self.data!r}, which is not read from a folder"
            )


@dataclass(frozen=True, kw_only=True)
class CoreTaskConfig(TaskConfig):
    """The options of a task whose net is any recurrent core with a linear readout."""

    core: CellConfig = field(default_factory=PlasticRNNConfig)
    """The recurrent core."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if cell_entry(self.core.name).takes_labels:
            raise UsageError(
                f"core cannot be {self.core.name}, whose input includes a label; all other cells "
                "are allowed"
            )
