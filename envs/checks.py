"""Checks of the arguments of a batch's methods; every error names what is wrong."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.vector import AutoresetMode

from plasticrl.envs.arguments import ArgumentError
from plasticrl.envs.arrays import Array, HostArray, Info, any_of

Seeds = int | Sequence[int | None] | None


def actions(given: Array, n_rows: int, n_actions: int) -> HostArray:
    """Return a copy of the actions (B,) in int64."""
    array = np.asarray(given)
    if array.shape != (n_rows,) or array.dtype.kind not in "iu":
        raise InvalidAction(
            f"actions must be integers of shape ({n_rows},), "
            f"got {array.dtype} of shape {array.shape}"
        )
    copied = array.astype(np.int64)
    # Negative numbers are large when they are read as unsigned ones.
    if any_of(copied.view(np.uint64) >= n_actions):
        raise InvalidAction(f"actions must be in 0 .. {n_actions - 1}, got {given!r}")
    return copied


def tensor_actions(given: Array, like: Array, xp: Any) -> None:
    """Raise unless ``given`` is a tensor of integers, like ``like`` in shape (B,) and device."""
    if type(given) is not type(like) or given.device != like.device:
        raise InvalidAction(f"actions must be a tensor on {like.device}, got {given!r}")
    if given.shape != like.shape or not xp.isdtype(given.dtype, "integral"):
        raise InvalidAction(
            f"actions must be integers of shape ({len(like)},), "
            f"got {given.dtype} of shape {tuple(given.shape)}"
        )


def row_seeds(seed: Seeds, n_rows: int) -> list[int | None]:
    """Return a seed, or None, for each row."""
    if seed is None:
        return [None] * n_rows
    if isinstance(seed, int | np.integer):
        return [int(seed) + row for row in range(n_rows)]
    if len(seed) != n_rows:
        raise ValueError(f"seed must have {n_rows} entries, one a row, got {len(seed)}")
    return [None if one is None else int(one) for one in seed]


def reset_mask(options: Info | None, n_rows: int, started: bool) -> HostArray:
    """Return the mask (B,) of rows to reset: all, or ``options["reset_mask"]``."""
    if options is None or "reset_mask" not in options:
        return np.ones(n_rows, dtype=np.bool_)
    mask = options["reset_mask"]
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"options['reset_mask'] must be a boolean numpy array, got {mask!r}")
    if mask.shape != (n_rows,) or not mask.any():
        raise ValueError(
            f"options['reset_mask'] must have shape ({n_rows},) and a true entry, got {mask}"
        )
    if not (started or mask.all()):
        raise ResetNeeded("call reset before step, and of all rows before that of some")
    return mask


def reset_options(options: Info, known: Sequence[str]) -> None:
    """Raise if there are unknown reset options."""
    if unknown := sorted(options.keys() - set(known)):
        raise ValueError(
            f"unknown reset options {unknown}: this environment has {', '.join(known) or 'none'}"
        )


def autoreset_mode(mode: str | AutoresetMode, device: str | None) -> AutoresetMode:
    """Return the mode; on a device it must be ``SAME_STEP``."""
    try:
        known = AutoresetMode(mode)
    except ValueError:
        names = [one.value for one in AutoresetMode]
        raise ValueError(f"autoreset_mode must be one of {names}, got {mode!r}") from None
    if device is not None and known is not AutoresetMode.SAME_STEP:
        raise ValueError(
            f"autoreset_mode must be {AutoresetMode.SAME_STEP} with device={device!r}, got {known}"
        )
    return known


def state(given: dict[str, HostArray], current: dict[str, HostArray]) -> None:
    """Raise ``ArgumentError`` unless a state has exactly the arrays of the current one."""
    if given.keys() != current.keys():
        wrong = sorted(given.keys() ^ current.keys())
        raise ArgumentError(
            f"state must hold exactly {sorted(current)}; missing or unknown: {wrong}"
        )
    for name, expected in current.items():
        leaf = given[name]
        if not isinstance(leaf, np.ndarray):
            raise ArgumentError(f"state[{name!r}] must be a numpy array, got {type(leaf).__name__}")
        if leaf.shape != expected.shape or leaf.dtype != expected.dtype:
            raise ArgumentError(
                f"state[{name!r}] must be {expected.dtype} of shape {expected.shape}, "
                f"got {leaf.dtype} of shape {leaf.shape}"
            )


def state_limits(given: dict[str, HostArray], limits: dict[str, tuple[int, int]]) -> None:
    """Raise ``ArgumentError`` if a number of a state is outside its limits or not finite."""
    for name, leaf in given.items():
        low, high = limits.get(name, (-np.inf, np.inf))
        wrong = ~np.isfinite(leaf) | (leaf < low) | (leaf > high)
        if wrong.any():
            raise ArgumentError(
                f"state[{name!r}] must be from {low} to {high} and finite, got {leaf[wrong][0]}"
            )


def few(mask: HostArray, most: int = 8) -> str:
    """Return the numbers of the first true rows of a mask (B,), as text for a message."""
    rows = np.flatnonzero(mask)
    return ", ".join(map(str, rows[:most])) + (", ..." if len(rows) > most else "")
