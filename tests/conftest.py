"""Settings of all tests (one thread, as tensors are small), and the options of golden vectors.

python -m pytest tests/core/test_golden.py --golden DIR [--backend NAME]
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

GOLDEN = Path(__file__).parent / "core" / "golden"

# Without a GPU, Triton's kernels run in its interpreter, which is chosen before the import.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# No test asserts on time, and a failure must be reproducible.
settings.register_profile("plasticrl", deadline=None, derandomize=True)
settings.load_profile("plasticrl")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("plasticrl")
    group.addoption("--golden", type=Path, default=GOLDEN, metavar="DIR", help="check vectors")
    group.addoption(
        "--backend",
        choices=("eager", "fused"),
        help="backend of the core tests, fused standing for eager in cells that have no fused one; "
        "by default both",
    )


def pytest_configure(config: pytest.Config) -> None:
    folder: Path = config.getoption("--golden")
    if not folder.is_dir():
        raise pytest.UsageError(f"--golden: there is no folder {str(folder)!r}")
    if not any(folder.glob("*.npz")):
        raise pytest.UsageError(f"--golden: there is no .npz file in {str(folder)!r}")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
