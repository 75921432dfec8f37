"""The benchmarks are not installed: they are found from the project's root."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

sys.path.append(str(ROOT))  # last, so that no folder here hides an installed package
