"""Training a net, update by update: shown, written down, checked, saved, and gone on with.

shown <- .9 shown + .1 loss
"""

import itertools
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from torch import Tensor, nn

from plasticrl.core.backends.compiling import compilation_told
from plasticrl.runs import COMPILING, CtrlC, Lines, Timing, get_rng_state, set_rng_state
from plasticrl.tasks.config import TaskConfig

Log = Callable[[int, dict[str, float]], None]
"""Writes down metrics by name, at a number of training episodes."""

REPORTS = 50
"""Lines of metrics of each net."""
SMOOTHING = 0.9
SAVED_EVERY = 120.0
"""Seconds from one checkpoint to the next."""

_TYPES: dict[str, type | tuple[type, ...]] = {
    "net": dict,
    "optimizer": dict,
    "n_updates": int,
    "seconds": float,
    "smooth": (float, type(None)),
    "stopped": (str, type(None)),
    "rng": dict,
}
"""What a checkpoint holds; a task's training can add to it."""


class Fit(ABC):
    """The training of a net, as far as it has come.

    Between two updates, all that decides the further ones is in ``state``.

    Args:
        net: on the config's device.
        optimizer: of the parameters that are trained.
    """

    def __init__(
        self, net: nn.Module, optimizer: torch.optim.Optimizer, config: TaskConfig
    ) -> None:
        self.net, self.optimizer, self.config = net, optimizer, config
        self.n_updates, self.seconds = 0, 0.0
        self.smooth: float | None = None
        self.stopped: Literal["target", "updates"] | None = None
        """By the task's target, or because all ``n_updates`` of the config are made."""

    @abstractmethod
    def loss(self) -> tuple[Tensor, float]:
        """Of the next update: the loss, and as a number what is shown of it."""

    def rate(self) -> float:
        """The learning rate of the next update."""
        return self.config.learning_rate

    def updated(self) -> dict[str, float]:
        """Called after each update; metrics to be written down besides loss and gradient."""
        return {}

    def enough(self) -> bool:
        """Whether the task's target is reached; asked after each update."""
        return False

    def run(self, name: str, log: Log, save: Callable[[], None]) -> None:
        """Train to the end.

        Args:
            name: of the net, for messages.
            log: gets metrics now and then.
            save: called now and then, on Ctrl-C and at the end, to keep ``state``.

        Raises:
            FloatingPointError: the loss or its gradient is no longer finite.
            KeyboardInterrupt: after Ctrl-C.
        """
        saved = time.perf_counter()
        with (
            CtrlC() as ctrl_c,
            progress(name, self.config.n_updates, self.n_updates) as advance,
        ):
            while self.stopped is None:
                started = time.perf_counter()
                shown, values = self.update(name)
                if values:
                    log(self.n_updates * self.config.batch_size, values)
                advance(shown)
                self._stop()
                now = time.perf_counter()
                self.seconds += now - started
                if self.stopped or ctrl_c.pressed or now - saved >= SAVED_EVERY:
                    save()
                    saved = time.perf_counter()
                if ctrl_c.pressed:
                    raise KeyboardInterrupt

    def update(self, name: str) -> tuple[float, dict[str, float]]:
        """One update: what is shown of the loss, and the metrics to be written down."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        loss, value = self.loss()
        doing = f"{name}, update {self.n_updates + 1}"
        norm = step(self.net, self.optimizer, loss, self.config.max_grad_norm, doing)
        self.n_updates += 1
        before = self.smooth
        self.smooth = value if before is None else SMOOTHING * before + (1 - SMOOTHING) * value
        values = self.updated()
        if self.n_updates % max(1, self.config.n_updates // REPORTS) == 0:
            values = {"train/loss": self.smooth, "train/grad_norm": norm, **values}
        return self.smooth, values

    def _stop(self) -> None:
        if self.enough():
            self.stopped = "target"
        elif self.n_updates >= self.config.n_updates:
            self.stopped = "updates"

    def state(self) -> dict[str, Any]:
        """All that ``restore`` needs, as a checkpoint can hold it."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "n_updates": self.n_updates,
            "seconds": self.seconds,
            "smooth": self.smooth,
            "stopped": self.stopped,
            "rng": get_rng_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from where ``state`` was taken, to the same bits.

        Raises:
            ValueError, RuntimeError, ...: it does not fit.
        """
        for name, expected in _TYPES.items():
            if name not in state or not isinstance(state[name], expected):
                raise ValueError(f"its {name!r} is missing, or not what a run saves")
        if state["stopped"] not in (None, "target", "updates"):
            raise ValueError(f"its 'stopped' is {state['stopped']!r}")
        if not 0 < state["n_updates"] <= self.config.n_updates:
            raise ValueError(f"its 'n_updates' is {state['n_updates']}")
        self.net.load_state_dict(state["net"])
        check_finite("weights", self.net.state_dict().values())
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, kept in self.optimizer.state.items():
            tensors = [one for one in kept.values() if isinstance(one, Tensor) and one.dim()]
            if any(one.shape != parameter.shape for one in tensors):
                raise ValueError("its optimizer's state has not the shape of the weights")
            check_finite("optimizer's numbers", tensors)
        self.n_updates, self.seconds = state["n_updates"], state["seconds"]
        self.smooth, self.stopped = state["smooth"], state["stopped"]
        set_rng_state(state["rng"])


def check_finite(what: str, tensors: Iterable[Tensor]) -> None:
    """Raise ``ValueError`` for a checkpoint's tensors that hold NaN or infinity."""
    if not all(torch.isfinite(one).all() for one in tensors if one.is_floating_point()):
        raise ValueError(f"its {what} are not finite")


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
def progress(doing: str, total: int, done: int) -> Iterator[Callable[[float], None]]:
    """A bar of updates; what it gives is to be called with the loss after each.

    Elsewhere than in a terminal, a line now and then.
    """
    console = Console(stderr=True)
    started, lines = time.perf_counter(), Lines(total, done)
    updates = itertools.count(done + 1)
    bar = Progress(
        TextColumn(doing),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} updates"),
        TextColumn("loss {task.fields[loss]}"),
        Timing(),
        console=console,
        disable=not console.is_terminal,
    )
    shown = bar.add_task("", total=total, completed=done, loss="-")

    def advance(loss: float) -> None:
        bar.update(shown, advance=1, loss=f"{loss:.4g}")
        update = next(updates)
        if not console.is_terminal and lines.due(update):
            seconds = time.perf_counter() - started
            line = f"{doing}: {update:,} of {total:,} updates, loss {loss:.4g}, {seconds:.0f} s"
            print(line, file=sys.stderr, flush=True)

    with bar, compilation_told(lambda: console.print(f"{doing}: {COMPILING}", highlight=False)):
        yield advance
