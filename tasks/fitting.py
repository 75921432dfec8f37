"""The training of a net, which can be saved and resumed. The logged loss is smoothed:

smoothed loss <- .9 smoothed loss + .1 loss
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plasticrl.runs import DivergedError, RunError, TrainingSession, get_rng_state, set_rng_state
from plasticrl.runs.matching import check_at_least, check_like, check_optimizer
from plasticrl.tasks.config import TaskConfig

Log = Callable[[int, dict[str, float]], None]
"""Writes metrics, by name, with the number of training episodes so far."""

REPORTS = 50
"""Number of metrics lines that the training of each net writes."""
SMOOTHING = 0.9
SAVED_EVERY = 120.0
"""Seconds from one checkpoint to the next."""


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
            DivergedError: the loss or its gradient is no longer finite.
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
            "net": dict(self.net.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "n_updates": self.n_updates,
            "seconds": self.seconds,
            "smooth": self.smooth,
            "stopped": self.stopped,
            "rng": get_rng_state(),
        }

    def form(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return data of the form that a ``state`` of this training must have.

        A task that saves more than ``state`` does here extends this too.

        Args:
            state: the data to be checked. It decides between forms if there are several.
        """
        return {
            "net": dict(self.net.state_dict()),
            "n_updates": 0,
            "seconds": 0.0,
            "smooth": 0.0,
            "stopped": None if state.get("stopped") is None else "updates",
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a ``state``; the result has the same bits as without the interruption.

        Raises:
            RunError: the state does not have what this training saves.
        """
        form = self.form(state)
        if state.keys() != form.keys() | {"optimizer", "rng"}:
            raise RunError("it is not a checkpoint of this task")
        for name, template in form.items():
            check_like(state[name], template, f"its {name!r}")
        if state["stopped"] not in (None, "target", "updates"):
            raise RunError(f"its 'stopped' is {state['stopped']!r}")
        if not 0 < state["n_updates"] <= self.config.n_updates:
            raise RunError(f"its 'n_updates' is {state['n_updates']}")
        check_at_least(0, **{"its 'seconds'": state["seconds"]})
        check_optimizer(state["optimizer"], self.optimizer, "its 'optimizer'")
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.n_updates, self.seconds = state["n_updates"], state["seconds"]
        self.smooth, self.stopped = state["smooth"], state["stopped"]
        set_rng_state(state["rng"])


def step(
    net: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, max_norm: float, where: str
) -> float:
    """Make an update with the loss's gradient, clipped at ``max_norm``; return the unclipped norm.

    Raises:
        DivergedError: the loss or its gradient is no longer finite; the message begins with
            ``where``.
    """
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    trained = [p for p in net.parameters() if p.requires_grad]
    norm = nn.utils.clip_grad_norm_(trained, max_norm)
    if not (torch.isfinite(norm) and torch.isfinite(loss.detach())):
        raise DivergedError(f"{where}: the loss is {loss.item()}; lower the learning rate")
    optimizer.step()
    return norm.item()
