"""The functions on states, which are tuples of tensors and None."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from plasticrl.core.cells.identity import IdentityState
from plasticrl.core.state import detach, leaves, map_leaves, select, unflatten


class Pair(NamedTuple):
    """A state with None in the middle."""

    first: Tensor
    gap: Tensor | None
    last: Tensor


def pair(first: float, last: float) -> Pair:
    return Pair(torch.full((2,), first), None, torch.full((2, 3, 3), last))


def test_leaves_leave_the_gaps_out() -> None:
    state = pair(1.0, 2.0)
    assert [id(leaf) for leaf in leaves(state)] == [id(state.first), id(state.last)]
    assert leaves(IdentityState()) == []


def test_unflatten_undoes_leaves() -> None:
    """Otherwise a trace can be restored as an eligibility trace."""
    state = pair(1.0, 2.0)
    back = unflatten(pair(0.0, 0.0), leaves(state))
    assert type(back) is Pair
    assert back.first is state.first
    assert back.gap is None
    assert back.last is state.last
    assert unflatten(IdentityState(), []) == IdentityState()


@pytest.mark.parametrize("count", [1, 3])
def test_unflatten_counts(count: int) -> None:
    """Otherwise a tensor is silently dropped, or the error message is obscure."""
    with pytest.raises(ValueError, match=f"2 tensors, not {count}"):
        unflatten(pair(0.0, 0.0), [torch.zeros(2)] * count)


def test_map_leaves_takes_corresponding_leaves() -> None:
    total = map_leaves(torch.add, pair(1.0, 2.0), pair(10.0, 20.0))
    assert type(total) is Pair
    assert total.gap is None
    assert total.first.tolist() == [11.0, 11.0]
    assert (total.last == 22.0).all()


def test_select_takes_rows() -> None:
    chosen = select(torch.tensor([True, False]), pair(1.0, 2.0), pair(10.0, 20.0))
    assert chosen.first.tolist() == [1.0, 10.0]
    assert (chosen.last[0] == 2.0).all()
    assert (chosen.last[1] == 20.0).all()


def test_select_lets_nothing_through_of_what_it_leaves() -> None:
    """Rows that are not taken affect neither value nor gradient; 0 x inf would be NaN."""
    kept, left = pair(1.0, 2.0), pair(float("inf"), float("nan"))
    for leaf in leaves(kept) + leaves(left):
        leaf.requires_grad_()
    chosen = select(torch.tensor([True, True]), kept, left)
    torch.autograd.backward([leaf.sum() for leaf in leaves(chosen)])
    for leaf, mine, other in zip(leaves(chosen), leaves(kept), leaves(left), strict=True):
        assert torch.equal(leaf, mine)
        assert mine.grad is not None
        assert (mine.grad == 1).all()
        assert other.grad is not None
        assert not other.grad.any()


def test_detach_cuts_the_graph() -> None:
    """Otherwise the graphs of all earlier chunks stay in memory."""
    state = map_leaves(lambda leaf: leaf.requires_grad_() * 2, pair(1.0, 2.0))
    cut = detach(state)
    assert all(leaf.requires_grad for leaf in leaves(state))
    assert not any(leaf.requires_grad for leaf in leaves(cut))
    assert torch.equal(cut.last, state.last)
