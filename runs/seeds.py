"""The range of seeds, which torch, NumPy and Gymnasium share."""

from plasticrl.runs.errors import UsageError

LARGEST_SEED = 2**31 - 1


def check_seed(seed: int) -> None:
    """Raise ``UsageError`` unless a seed is from 0 to ``LARGEST_SEED``."""
    if not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"seed must be from 0 to {LARGEST_SEED}, not {seed}")
