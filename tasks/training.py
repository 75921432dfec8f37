"""A supervised run: every net of a task is trained, then measured on held-out episodes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from plasticrl.runs import (
    CONFIG_NAME,
    FolderLock,
    MetricsLog,
    RunDirectory,
    RunError,
    TrainingSession,
    check_device,
    from_dict,
    has_checkpoint,
    keep_freed_memory,
    load_latest,
    make_folder,
    remove_old_checkpoints,
    save_checkpoint,
    to_dict,
)
from plasticrl.runs.memory import check_memory
from plasticrl.tasks.config import KIND, DataTaskConfig, TaskConfig
from plasticrl.tasks.fitting import Fit
from plasticrl.tasks.registry import TASKS
from plasticrl.tasks.task import Net, Task

WEIGHT_COPIES = 4
"""A weight with its gradient and the optimizer's numbers."""


def build_task(config: TaskConfig) -> Task[Any]:
    """Make the task of a config."""
    module, name = TASKS[config.name].code.split(":")
    task: Task[Any] = getattr(import_module(f"plasticrl.tasks.{module}"), name)(config)
    return task


@dataclass
class SupervisedRun:
    """A run that is ready to train, either new or restored after an interruption."""

    run: RunDirectory
    task: Task[Any]
    lock: FolderLock
    measured: list[dict[str, Any]] = field(default_factory=list)
    """The entries of ``evaluation.json``, one for each net measured so far."""

    @classmethod
    def start(
        cls,
        config: TaskConfig,
        preset: str,
        path: Path,
        dropped: Mapping[str, Any] | None = None,
    ) -> "SupervisedRun":
        """Begin a run in a new directory.

        Args:
            dropped: the preset's settings that have no meaning with this config, for the run's
                config.json.

        Raises:
            UsageError: the device or the data are missing, or the directory is not empty.
        """
        task = _prepare(config)
        run = RunDirectory.create(
            path, kind=KIND, preset=preset, config=to_dict(config), dropped=dropped
        )
        return cls(run, task, FolderLock(path))

    @classmethod
    def resume(cls, path: Path) -> "SupervisedRun":
        """Continue a run; the results have the same bits as without the interruption.

        Raises:
            RunError: the run is missing or damaged.
            UsageError: the device or the data are missing.
        """
        run, config = open_run(path)
        lock = FolderLock(path)
        task = _prepare(config)
        return cls(run, task, lock, _read_measured(run, task.nets()))

    @property
    def nets(self) -> list[Net]:
        """The nets to train and measure, in order: the plastic net, then its controls."""
        return self.task.nets() if self.task.config.controls else self.task.nets()[:1]

    @property
    def is_drawn(self) -> bool:
        """Whether the plastic net's pictures have been drawn."""
        return bool(self.measured) and "pictures" in self.measured[0]

    def describe_data(self) -> str:
        """Name the task's data, and say whether they replace a data set of the user."""
        config, made = self.task.config, "made by the program"
        if not isinstance(config, DataTaskConfig):
            return made
        name = str(self.task.data.name)
        if config.data == config.external_data:
            return name
        origin = "embedded" if self.task.data.sha256 else made
        return f"{name}, {origin}: a substitute for data={config.external_data}"

    def learn(self, session: TrainingSession | None = None) -> Iterator[dict[str, Any]]:
        """Train and measure the remaining nets, and draw pictures of the plastic net.

        Args:
            session: shows progress and saves checkpoints; by default nothing is shown.

        Yields:
            The entry of each net in ``evaluation.json``, once it has been measured.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; ``resume`` continues the run.
            FloatingPointError: a loss or its gradient is no longer finite.
        """
        try:
            yield from self._learn(session or TrainingSession())
        finally:
            self.lock.release()

    def _learn(self, session: TrainingSession) -> Iterator[dict[str, Any]]:
        if self.measured and not self.is_drawn:
            self._draw(self._train(0, session)[0])
            yield self.measured[0]
        for position in range(len(self.measured), len(self.nets)):
            net, fit = self._train(position, session)
            self.measured.append(self._measure(position, net, fit))
            self._write()  # before pictures and controls, which may fail or be interrupted
            if position == 0:
                self._draw(net)
            yield self.measured[-1]

    def _train(self, position: int, session: TrainingSession) -> tuple[nn.Module, Fit | None]:
        """Build a net and train it to the end; a net without parameters is not trained."""
        net, config = self.task.nets()[position], self.task.config
        torch.manual_seed(config.seed)
        module = net.build().to(config.device)
        if not _n_parameters(module):
            return module, None
        fit, folder = self.task.fit(module), self.run.checkpoints_path / f"{position}"
        make_folder(folder.parent)
        if has_checkpoint(folder):
            _restore(fit, folder, session)
        metrics, prefix = MetricsLog(self.run.metrics_path), f"{net.name}/" if position else ""
        metrics.rewind(fit.n_updates * config.batch_size, prefix)

        def log(step: int, values: dict[str, float]) -> None:
            self.lock.check()
            metrics.append(step, {f"{prefix}{metric}": value for metric, value in values.items()})

        def save() -> None:
            self.lock.check()
            save_checkpoint(folder, fit.n_updates, fit.state(), _n_kept(fit))

        fit.run(net.name, log, save, session)
        return module, fit

    def _measure(self, position: int, module: nn.Module, fit: Fit | None) -> dict[str, Any]:
        """Evaluate a net and return its entry; ``stopped`` is None if it was not trained."""
        result, ablated = self.task.evaluate(module), self.task.ablate(module)
        entry = {
            "net": self.task.nets()[position].name,
            "value": result.value,
            "ci95": list(result.ci95),
            "episodes": result.episodes,
            "train_episodes": fit.n_updates * self.task.config.batch_size if fit else 0,
            "stopped": fit.stopped if fit else None,
            "parameters": _n_parameters(module),
            "seconds": fit.seconds if fit else 0.0,
        }
        if ablated is not None:
            without = self.task.evaluate(ablated)
            entry |= {"ablated_value": without.value, "ablated_ci95": list(without.ci95)}
        return entry

    def _draw(self, net: nn.Module) -> None:
        paths = self.task.pictures(net, self.run.path)
        self.measured[0]["pictures"] = [path.name for path in paths]
        self._write()

    def _write(self) -> None:
        self.run.write_evaluation(
            {
                "task": self.task.config.name,
                "preset": self.run.preset,
                "data": self.task.data._asdict(),
                "metric": self.task.metric,
                **self.measured[0],
                "controls": self.measured[1:],
                "not_measured": [net.name for net in self.task.nets()[len(self.measured) :]],
            }
        )


def open_run(path: Path) -> tuple[RunDirectory, TaskConfig]:
    """Open a supervised run and read its config.

    Raises:
        RunError: the run is missing, damaged, or of another format or kind.
    """
    run = RunDirectory.open(path)
    if run.kind != KIND:
        raise RunError(f"{path} is a run of kind {run.kind!r}, not a supervised run")
    return run, from_dict(TaskConfig, run.config, f"{path / CONFIG_NAME}: config")


def _prepare(config: TaskConfig) -> Task[Any]:
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    check_device(config.device, "cpu")
    task = build_task(config)
    _check_memory(task)
    return task


def _check_memory(task: Task[Any]) -> None:
    """Raise ``UsageError`` if the weights and the traces of a batch do not fit into memory."""
    with torch.device("meta"):  # allocates nothing
        n_weights = _n_parameters(task.nets()[0].build())
    batch_size = task.config.batch_size
    copies = WEIGHT_COPIES + 2 * batch_size
    sizes = f"batch_size={batch_size} and the sizes of the net"
    check_memory(copies * n_weights * torch.float32.itemsize, sizes)


def _read_measured(run: RunDirectory, nets: list[Net]) -> list[dict[str, Any]]:
    """The entries of the nets that were measured before the run was interrupted."""
    if not run.evaluation_path.exists():
        return []
    record = run.read_evaluation()
    try:
        measured = [record, *record["controls"]]
        names = [one["net"] for one in measured]
    except (KeyError, TypeError) as error:
        raise RunError(f"{run.evaluation_path} is damaged: {error!r}") from error
    if names != [net.name for net in nets[: len(names)]]:
        raise RunError(f"{run.evaluation_path} has other nets than the run: {names}")
    return measured


def _restore(fit: Fit, folder: Path, session: TrainingSession) -> None:
    checkpoint = load_latest(folder)
    for sentence in checkpoint.damaged:
        session.progress.notify(f"{sentence}; the checkpoint before it is used")
    try:
        fit.restore(checkpoint.content)
    except RunError as error:
        raise RunError(f"{checkpoint.path} does not fit the run's config: {error}") from error
    remove_old_checkpoints(checkpoint.path, _n_kept(fit))  # it may have been killed before that


def _n_kept(fit: Fit) -> int:
    """The number of checkpoints to keep: in the training two, in case one is damaged."""
    return 1 if fit.stopped else 2


def _n_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
