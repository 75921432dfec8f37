"""The states of cells: NamedTuples of tensors (leaves) with the batch first; a leaf can be None."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

State = TypeVar("State", bound=tuple[Any, ...])


def map_leaves(function: Callable[..., Tensor], *states: State) -> State:
    """Apply ``function`` to the corresponding tensors of states of one type; None stays None."""
    first = states[0]
    mapped: Iterator[Any] = (
        None if leaf is None else function(leaf, *others)
        for leaf, *others in zip(*states, strict=True)
    )
    return type(first)(*mapped)


def leaves(state: tuple[Any, ...]) -> list[Tensor]:
    """Return the tensors of a state, in order, without the entries that are None."""
    return [leaf for leaf in state if leaf is not None]


def unflatten(template: State, tensors: list[Tensor]) -> State:
    """Return ``template`` with its tensors replaced by ``tensors``; the inverse of ``leaves``.

    Raises:
        ValueError: if there are more or fewer tensors than the template has.
    """
    if len(tensors) != len(leaves(template)):
        raise ValueError(
            f"a {type(template).__name__} has {len(leaves(template))} tensors, not {len(tensors)}"
        )
    remaining = iter(tensors)
    return map_leaves(lambda _: next(remaining), template)


def select(condition: Tensor, chosen: State, other: State) -> State:
    """Return rows of ``chosen`` where ``condition`` (B,) is true, else rows of ``other``.

    A row that is not taken does not affect the result, even if it is infinite or NaN, and its
    gradient is exactly zero. Multiplication by a mask would give NaN.
    """

    def where(left: Tensor, right: Tensor) -> Tensor:
        shape = (-1,) + (1,) * (left.dim() - 1)
        return torch.where(condition.view(shape), left, right)

    return map_leaves(where, chosen, other)


def detach(state: State) -> State:
    """Detach all tensors of a state."""
    return map_leaves(Tensor.detach, state)


def check_state(state: Any, template: Any, batch_size: int) -> None:
    """Raise ``ValueError`` unless ``state`` is like ``template``, but with ``batch_size`` rows."""
    if type(state) is not type(template):
        raise ValueError(f"state must be a {type(template).__name__}, not a {type(state).__name__}")
    for name, leaf, expected in zip(state._fields, state, template, strict=True):
        shape = None if expected is None else (batch_size, *expected.shape[1:])
        given = None if leaf is None else tuple(leaf.shape)
        if given != shape:
            wanted = "be None" if shape is None else f"have shape {shape}"
            raise ValueError(f"state.{name} must {wanted}, not {given}")
        if leaf is not None and leaf.dtype != expected.dtype:
            raise ValueError(f"state.{name} must have dtype {expected.dtype}, not {leaf.dtype}")
