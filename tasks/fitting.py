"""What every way of training shows, writes down and checks."""

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

Log = Callable[[int, dict[str, float]], None]
"""Writes down metrics by name, at a number of training episodes."""

REPORTS = 50
"""Lines of metrics of each net."""
LINES = 10
"""Lines of progress of each net where no bar can be shown."""
SMOOTHING = 0.9


def step(
    net: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, max_norm: float, doing: str
) -> float:
    """One update by the gradient of a loss, clipped at ``max_norm``; the norm before that.

    Raises:
        FloatingPointError: the loss or its gradient is no longer finite; says what was being done.
    """
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    trained = [p for p in net.parameters() if p.requires_grad]
    norm = nn.utils.clip_grad_norm_(trained, max_norm)
    if not (torch.isfinite(norm) and torch.isfinite(loss.detach())):
        raise FloatingPointError(f"{doing}: the loss is {loss.item()}; lower the learning rate")
    optimizer.step()
    return norm.item()


@contextmanager
def progress(doing: str, total: int) -> Iterator[Callable[[float], None]]:
    """A bar of updates; what it gives is to be called with the loss after each.

    Elsewhere than in a terminal, a line now and then.
    """
    console = Console(stderr=True)
    started, done, every = time.perf_counter(), itertools.count(1), max(1, total // LINES)
    bar = Progress(
        TextColumn(doing),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} updates"),
        TextColumn("loss {task.fields[loss]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    shown = bar.add_task("", total=total, loss="-")

    def advance(loss: float) -> None:
        bar.update(shown, advance=1, loss=f"{loss:.4g}")
        update = next(done)
        if not console.is_terminal and update % every == 0:
            seconds = time.perf_counter() - started
            line = f"{doing}: {update:,} of {total:,} updates, loss {loss:.4g}, {seconds:.0f} s"
            print(line, file=sys.stderr, flush=True)

    with bar:
        yield advance
