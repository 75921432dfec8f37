"""Training a net: on the episodes of a task, and what every way of training shows and checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from plasticrl.tasks.evaluation import generator

if TYPE_CHECKING:  # a task knows how it is trained, and not the other way round
    from plasticrl.tasks.task import Task

Log = Callable[[int, dict[str, float]], None]
"""Writes down metrics by name, at a number of training episodes."""

REPORTS = 50
"""Lines of metrics of each net."""
SMOOTHING = 0.9


def fit_episodes(task: Task[Any], net: nn.Module, name: str, log: Log) -> None:
    """``n_updates`` updates, each on ``batch_size`` new episodes.

    Raises:
        FloatingPointError: the loss or its gradient is no longer finite.
    """
    config = task.config
    random = generator(config.seed, config.device)
    optimizer = task.optimizer(net)
    smooth = None
    with progress(name, config.n_updates) as advance:
        for update in range(1, config.n_updates + 1):
            episodes = task.sample(config.batch_size, random, held_out=False)
            loss = task.loss(net, episodes)
            norm = step(net, optimizer, loss, config.max_grad_norm, f"{name}, update {update}")
            value = loss.item()
            smooth = value if smooth is None else SMOOTHING * smooth + (1 - SMOOTHING) * value
            advance(smooth)
            if update % max(1, config.n_updates // REPORTS) == 0:
                log(update * config.batch_size, {"train/loss": smooth, "train/grad_norm": norm})


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
    """A progress bar of updates on a terminal; call what it gives with the loss after each."""
    console = Console(stderr=True)
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
    with bar:
        yield lambda loss: bar.update(shown, advance=1, loss=f"{loss:.4g}")
