"""The training of a net, which can be saved and resumed. The logged loss is smoothed:

smoothed loss <- .9 smoothed loss + .1 loss
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plasticrl.runs import TrainingSession, get_rng_state, set_rng_state
from plasticrl.tasks.config import TaskConfig

Log = Callable[[int, dict[str, float]], None]
"""Writes metrics, by name, with the number of training episodes so far."""

REPORTS = 50
"""Number of metrics lines that the training of each net writes."""
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
"""Keys of a checkpoint and the types of their values; a task can add more."""


class Fit(ABC):
    """The training of a net.

    Args:
        net: the net, on the config's device.
        optimizer: the optimizer of the net's trainable parameters.
    """

    def __init__(
        self, net: nn.Module, optimizer: torch.optim.Optimizer, config: TaskConfig
    ) -> None:
        self.net, self.optimizer, self.config = net, optimizer, config
        self.n_updates, self.seconds = 0, 0.0
        self.smooth: float | None = None
        self.stopped: Literal["target", "updates"] | None = None
        """Why the training has ended: at the task's target, or after the config's ``n_updates``."""

    @abstractmethod
    def loss(self) -> tuple[Tensor, float]:
        """Return the loss of the next update, and the number that is shown and logged for it."""

    def learning_rate(self) -> float:
        """The learning rate of the next update."""
        return self.config.learning_rate

    def updated(self) -> dict[str, float]:
        """Return more metrics to log, besides loss and gradient norm; called after each update."""
        return {}

    def target_reached(self) -> bool:
        """Whether the task's target is reached; called after each update."""
        return False

    def run(
        self,
        name: str,
        log: Log,
        save: Callable[[], None],
        session: TrainingSession | None = None,
    ) -> None:
        """Train to the end.

        Args:
            name: the net's name, for messages.
            save: saves ``state``; called from time to time, on Ctrl-C and at the end.
            session: shows the progress and decides when to save; by default nothing is shown.

        Raises:
            FloatingPointError: the loss or its gradient is no longer finite.
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        config, session = self.config, session or TrainingSession()
        with session.training(
            save,
            label=name,
            unit="updates",
            done=self.n_updates,
            total=config.n_updates,
            every_seconds=SAVED_EVERY,
        ):
            while self.stopped is None:
                started = time.perf_counter()
                loss, metrics = self.update(name)
                if metrics:
                    log(self.n_updates * config.batch_size, metrics)
                self._stop()
                self.seconds += time.perf_counter() - started
                ended = self.stopped is not None
                figure = f"loss {loss:.4g}"
                session.between_updates(self.n_updates, self.n_updates, figure, ended)
            if session.interrupted:
                raise KeyboardInterrupt

    def update(self, name: str) -> tuple[float, dict[str, float]]:
        """Make one update; return the smoothed loss, and metrics to log if there are any."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        loss, value = self.loss()
        where = f"{name}, update {self.n_updates + 1}"
        norm = step(self.net, self.optimizer, loss, self.config.max_grad_norm, where)
        self.n_updates += 1
        before = self.smooth
        self.smooth = value if before is None else SMOOTHING * before + (1 - SMOOTHING) * value
        values = self.updated()
        if self.n_updates % max(1, self.config.n_updates // REPORTS) == 0:
            values = {"train/loss": self.smooth, "train/grad_norm": norm, **values}
        return self.smooth, values

    def _stop(self) -> None:
        if self.target_reached():
            self.stopped = "target"
        elif self.n_updates >= self.config.n_updates:
            self.stopped = "updates"

    def state(self) -> dict[str, Any]:
        """Return everything on which the next updates depend, in a form for a checkpoint."""
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
        """Continue from a ``state``; the result has the same bits as without the interruption.

        Raises:
            ValueError, RuntimeError, ...: the state does not fit the net.
        """
        for name, expected in _TYPES.items():
            if name not in state or not isinstance(state[name], expected):
                raise ValueError(f"its {name!r} is missing, or of the wrong type")
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
                raise ValueError("its optimizer state does not have the shape of the weights")
            check_finite("optimizer's numbers", tensors)
        self.n_updates, self.seconds = state["n_updates"], state["seconds"]
        self.smooth, self.stopped = state["smooth"], state["stopped"]
        set_rng_state(state["rng"])


def check_finite(what: str, tensors: Iterable[Tensor]) -> None:
    """Raise ``ValueError`` if tensors of a checkpoint have NaN or infinite values."""
    if not all(torch.isfinite(one).all() for one in tensors if one.is_floating_point()):
        raise ValueError(f"its {what} are not finite")


def step(
    net: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, max_norm: float, where: str
) -> float:
    """Make an update with the loss's gradient, clipped at ``max_norm``; return the unclipped norm.

    Raises:
        FloatingPointError: the loss or its gradient is no longer finite; the message begins with
            ``where``.
    """
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    trained = [p for p in net.parameters() if p.requires_grad]
    norm = nn.utils.clip_grad_norm_(trained, max_norm)
    if not (torch.isfinite(norm) and torch.isfinite(loss.detach())):
        raise FloatingPointError(f"{where}: the loss is {loss.item()}; lower the learning rate")
    optimizer.step()
    return norm.item()
