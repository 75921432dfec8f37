"""Options, data sets and presets of memorizing pictures and completing one of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from plasticrl.runs import UsageError
from plasticrl.tasks.config import DataTaskConfig
from plasticrl.tasks.data import EmbeddedDataSet, ExternalDataSet, File

STORED = 32
"""Side of the pictures in every data set, in pixels."""

PHOTOGRAPHS = EmbeddedDataSet(
    name="photographs",
    task="images",
    path=Path(__file__).parent / "photographs.png",
    sha256="6707bed0378391def911f43e3c73a0d4bb8f9095e558317014f51996eb783db0",
    description="2,733 gray 32x32 patches of 14 photographs, CC0, public domain or CC-BY-4.0",
)

BATCHES = "cifar-10-batches-py"
CIFAR_10 = ExternalDataSet(
    name="CIFAR-10",
    task="images",
    files=(File("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
    substitute="photographs",
    alternative_files=(  # the unpacked archive: the training batches, then the test batch
        File(f"{BATCHES}/data_batch_1", "c99cafc152244af753f735de768cd75f"),
        File(f"{BATCHES}/data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        File(f"{BATCHES}/data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        File(f"{BATCHES}/data_batch_4", "634d18415352ddfa80567beed471001a"),
        File(f"{BATCHES}/data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
        File(f"{BATCHES}/test_batch", "40351d587109b95175f43aff81a1287e"),
    ),
)

DATA_SETS = (PHOTOGRAPHS, CIFAR_10)


@dataclass(frozen=True, kw_only=True)
class ImagesConfig(DataTaskConfig):
    """Memorize pictures, then complete one of them from one half; DP 2018, section 4.2."""

    name: ClassVar[str] = "images"
    external_data: ClassVar[str] = "cifar-10"

    data: Literal["photographs", "dead-leaves", "cifar-10"] = "photographs"
    """photographs: embedded; dead-leaves: generated during training; cifar-10: in the data root."""
    size: int = STORED
    """Side of a picture in pixels: 32, or 16, 8 or 4 by averaging."""
    n_pictures: int = 3
    """Pictures per episode."""
    n_cycles: int = 3
    """How often each picture is shown."""
    steps_on: int = 20
    """Number of steps for which a picture is shown."""
    steps_off: int = 2
    """Number of steps without a picture after each picture."""
    probe_steps: int = 3
    """Number of steps for which half of a picture is shown; the answer is read at the last."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size not in (4, 8, 16, STORED):
            raise UsageError(f"size must be 4, 8, 16 or {STORED}, not {self.size}")
        for name in ("n_pictures", "n_cycles", "steps_on", "probe_steps"):
            self._check_at_least(name, 1)
        self._check_at_least("steps_off", 0)


def images_quickstart() -> ImagesConfig:
    """Three pictures of 16x16 pixels, each shown twice for six steps."""
    return ImagesConfig(
        size=16,
        n_cycles=2,
        steps_on=6,
        steps_off=1,
        batch_size=4,
        n_updates=1_200,
        learning_rate=1e-3,
    )


def images_paper() -> ImagesConfig:
    """Three pictures of 32x32; DP 2018 (arXiv 1804.02464) section 4.2: 201 steps, Adam 1e-4."""
    return ImagesConfig(batch_size=1, n_updates=2_000, learning_rate=1e-4, threads=2)


PRESETS = {"images-quickstart": images_quickstart, "images-paper": images_paper}
