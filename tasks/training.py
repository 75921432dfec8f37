"""A supervised run: every net of a task trained, then measured on held-out episodes."""

import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from plasticrl.runs import (
    CONFIG_NAME,
    MetricsLog,
    RunDirectory,
    RunError,
    UsageError,
    check_device,
    default_run_dir,
    from_dict,
    interrupted,
    latest_checkpoint,
    load_checkpoint,
    python_here,
    save_checkpoint,
    to_dict,
)
from plasticrl.tasks.config import KIND, DataTaskConfig, TaskConfig
from plasticrl.tasks.fitting import Fit
from plasticrl.tasks.registry import TASKS
from plasticrl.tasks.task import Net, Task


def build_task(config: TaskConfig) -> Task[Any]:
    """The task of a config."""
    module, name = TASKS[config.task].code.split(":")
    task: Task[Any] = getattr(import_module(f"plasticrl.tasks.{module}"), name)(config)
    return task


def train(config: TaskConfig, preset: str, run_dir: Path | None) -> int:
    """Train and measure into a new run directory; the exit status."""
    torch.set_num_threads(config.threads)
    check_device(config.device, "cpu")
    task = build_task(config)
    run = RunDirectory.create(
        run_dir or default_run_dir(preset, config.seed),
        kind=KIND,
        preset=preset,
        config={"task": config.task, **to_dict(config)},
    )
    return _train_nets(task, run, [])


def resume(path: Path) -> int:
    """Go on with a run where it stopped, to the same bits; the exit status."""
    run, config = open_run(path)
    torch.set_num_threads(config.threads)
    check_device(config.device, "cpu")
    task = build_task(config)
    measured = _measured(run, task.nets())
    if len(measured) >= len(_wanted(task)) and _is_drawn(measured):
        raise UsageError(f"{path} is finished: evaluate.py says what it measured")
    return _train_nets(task, run, measured)


def open_run(path: Path) -> tuple[RunDirectory, TaskConfig]:
    """A run of ``train_supervised.py`` and its config.

    Raises:
        RunError: it is missing, broken, of a newer format, or of another kind.
    """
    run = RunDirectory.open(path)
    if run.kind != KIND:
        raise RunError(
            f"{path} is a run of kind {run.kind!r}, not a supervised run: "
            "one of train_rl.py goes on with its own --resume"
        )
    where = f"{path / CONFIG_NAME}: config"
    fields = dict(run.config)
    task = fields.pop("task", None)
    if task not in list(TASKS):
        raise RunError(f"{where}.task must be one of {', '.join(TASKS)}, not {task!r}")
    return run, from_dict(TASKS[task].config, fields, where)


def _wanted(task: Task[Any]) -> list[Net]:
    """The nets to train and measure, in order."""
    return task.nets() if task.config.controls else task.nets()[:1]


def _measured(run: RunDirectory, nets: list[Net]) -> list[dict[str, Any]]:
    """What ``evaluation.json`` says of the nets that were measured before the run stopped."""
    if not run.evaluation_path.exists():
        return []
    record = run.read_evaluation()
    try:
        measured = [record, *record["controls"]]
        names = [one["net"] for one in measured]
    except (KeyError, TypeError) as error:
        raise RunError(f"{run.evaluation_path} is not as written: {error!r}") from error
    if names != [net.name for net in nets[: len(names)]]:
        raise RunError(f"{run.evaluation_path} is of other nets than the run's: {names}")
    return measured


def _train_nets(task: Task[Any], run: RunDirectory, measured: list[dict[str, Any]]) -> int:
    """Train and measure the nets after those that are measured; of the run's own, draw pictures."""
    console = Console(stderr=True)
    console.print(f"run directory: {run.path}", highlight=False, soft_wrap=True)
    console.print(f"data: {_told(task)}", highlight=False, soft_wrap=True)
    try:
        if measured and not _is_drawn(measured):
            _draw(task, _trained(task, 0, run)[0], run, measured, console)
        for position in range(len(measured), len(_wanted(task))):
            module, fit = _trained(task, position, run)
            measured.append(_measure(task, position, module, fit, console))
            _write(task, run, measured)  # at once: a control may be interrupted, a picture fail
            if position == 0:
                _draw(task, module, run, measured, console)
    except KeyboardInterrupt:
        return interrupted("train_supervised.py", run)
    again = f"{python_here()} evaluate.py {shlex.quote(str(run.path))}"
    console.print(f"to see this again: {again}", highlight=False, soft_wrap=True)
    return 0


def _is_drawn(measured: list[dict[str, Any]]) -> bool:
    return "pictures" in measured[0]


def _draw(
    task: Task[Any],
    net: nn.Module,
    run: RunDirectory,
    measured: list[dict[str, Any]],
    console: Console,
) -> None:
    paths = task.pictures(net, run.path)
    for path in paths:
        console.print(f"picture: {path}", highlight=False, soft_wrap=True)
    measured[0]["pictures"] = [path.name for path in paths]
    _write(task, run, measured)


def _write(task: Task[Any], run: RunDirectory, measured: list[dict[str, Any]]) -> None:
    run.write_evaluation(
        {
            "task": task.config.task,
            "preset": run.preset,
            "data": task.data._asdict(),
            "metric": task.metric,
            **measured[0],
            "controls": measured[1:],
            "not_measured": [net.name for net in task.nets()[len(measured) :]],
        }
    )


def _told(task: Task[Any]) -> str:
    """What the task is trained on, and whether it stands in for what the user can bring."""
    name, config = task.data.name, task.config
    made = "made by the program"
    if not isinstance(config, DataTaskConfig):
        return made
    if config.data == config.external_data:
        return str(name)
    what = "embedded" if task.data.sha256 else made
    return f"{name}, {what}: a stand-in for --data {config.external_data}"


def _trained(task: Task[Any], position: int, run: RunDirectory) -> tuple[nn.Module, Fit | None]:
    """A net, trained to the end; one without parameters is not trained."""
    net = task.nets()[position]
    torch.manual_seed(task.config.seed)
    module = net.build().to(task.config.device)
    if not _n_parameters(module):
        return module, None
    return module, _fitted(task, net.name, module, position, run)


def _n_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _measure(
    task: Task[Any], position: int, module: nn.Module, fit: Fit | None, console: Console
) -> dict[str, Any]:
    """What ``evaluation.json`` says of a net; of one that is not trained, ``stopped`` is None."""
    name, n_parameters = task.nets()[position].name, _n_parameters(module)
    result = task.evaluate(module)
    low, high = result.ci95
    seconds = fit.seconds if fit else 0.0
    console.print(
        f"{name}: {task.metric} {result.value:.4g} ({low:.4g} to {high:.4g}), "
        f"{n_parameters:,} parameters, {seconds:.0f} s",
        highlight=False,
        soft_wrap=True,
    )
    return {
        "net": name,
        "value": result.value,
        "ci95": list(result.ci95),
        "episodes": result.episodes,
        "train_episodes": fit.n_updates * task.config.batch_size if fit else 0,
        "stopped": fit.stopped if fit else None,
        "parameters": n_parameters,
        "seconds": seconds,
    }


def _fitted(task: Task[Any], name: str, net: nn.Module, position: int, run: RunDirectory) -> Fit:
    """A net trained to the end, from its latest checkpoint on if it has one."""
    fit, folder = task.fit(net), run.checkpoints_path / f"{position}"
    _restore(fit, folder)
    metrics, prefix = MetricsLog(run.metrics_path), f"{name}/" if position else ""
    metrics.rewind(fit.n_updates * task.config.batch_size, prefix)

    def log(step: int, values: dict[str, float]) -> None:
        metrics.append(step, {f"{prefix}{metric}": value for metric, value in values.items()})

    def save() -> None:
        # At the end one is enough; until then, one more in case the newest is damaged.
        save_checkpoint(folder, fit.n_updates, fit.state(), keep=1 if fit.stopped else 2)

    fit.run(name, log, save)
    return fit


def _restore(fit: Fit, folder: Path) -> None:
    try:
        path = latest_checkpoint(folder)
    except RunError:  # there is none: this net was not begun
        return
    content = load_checkpoint(path)
    try:
        fit.restore(content)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise RunError(f"{path} does not fit the run's config: {why}") from error
