"""A supervised run: every net of a task trained, then measured on held-out episodes."""

import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from plasticrl.runs import (
    MetricsLog,
    RunDirectory,
    check_device,
    default_run_dir,
    save_checkpoint,
    to_dict,
)
from plasticrl.tasks.config import KIND, TaskConfig
from plasticrl.tasks.fitting import Log
from plasticrl.tasks.registry import TASKS
from plasticrl.tasks.task import Task


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
    console = Console(stderr=True)
    console.print(f"run directory: {run.path}", highlight=False, soft_wrap=True)
    nets, measured = task.nets(), []
    for position, net in enumerate(nets if config.controls else nets[:1]):
        torch.manual_seed(config.seed)
        module = net.build().to(config.device)
        measured.append(_train_and_measure(task, net.name, module, position, run, console))
        record = {
            "task": config.task,
            "preset": preset,
            "data": task.data._asdict(),
            "metric": task.metric,
            **measured[0],
            "controls": measured[1:],
            "not_measured": [other.name for other in nets[position + 1 :]],
        }
        run.write_evaluation(record)  # at once: a control may be interrupted
        if position == 0:
            _draw(task, module, run, console)
    console.print(f"to see this again: evaluate.py {run.path}", highlight=False, soft_wrap=True)
    return 0


def _train_and_measure(
    task: Task[Any], name: str, net: nn.Module, position: int, run: RunDirectory, console: Console
) -> dict[str, Any]:
    """What ``evaluation.json`` says of one net. One without parameters is not trained: ``stopped``
    is None.
    """
    config = task.config
    n_parameters = sum(p.numel() for p in net.parameters() if p.requires_grad)
    ended, seconds = None, 0.0
    if n_parameters:
        started = time.perf_counter()
        prefix = "" if position == 0 else f"{name}/"
        ended = task.fit(net, name, _log(run, prefix))
        seconds = time.perf_counter() - started
        folder = run.path / "checkpoints" / f"{position}"
        save_checkpoint(folder, ended.n_updates, {"net": net.state_dict()})
    result = task.evaluate(net)
    low, high = result.ci95
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
        "train_episodes": ended.n_updates * config.batch_size if ended else 0,
        "stopped": ended.stopped if ended else None,
        "parameters": n_parameters,
        "seconds": seconds,
    }


def _draw(task: Task[Any], net: nn.Module, run: RunDirectory, console: Console) -> None:
    for path in task.pictures(net, run.path):
        console.print(f"picture: {path}", highlight=False, soft_wrap=True)


def _log(run: RunDirectory, prefix: str) -> Log:
    metrics = MetricsLog(run.metrics_path)
    return lambda step, values: metrics.append(
        step, {f"{prefix}{name}": value for name, value in values.items()}
    )
