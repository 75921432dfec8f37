"""A supervised run: every net of a task trained, then measured on held-out episodes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn

from plasticrl.runs import MetricsLog, RunDirectory, save_checkpoint, to_dict
from plasticrl.tasks.config import KIND, TaskConfig, TaskError
from plasticrl.tasks.evaluation import evaluate, generator
from plasticrl.tasks.task import Task

TASKS = {
    "patterns": "patterns.task:Patterns",
    "bohp": "bohp.task:Bohp",
    "omniglot": "omniglot.task:Omniglot",
}
"""By name; imported when used."""

REPORTS = 50
"""Lines of metrics of each net."""
SMOOTHING = 0.9


def build_task(config: TaskConfig) -> Task[Any]:
    """The task of a config."""
    module, name = TASKS[config.task].split(":")
    task: Task[Any] = getattr(import_module(f"plasticrl.tasks.{module}"), name)(config)
    return task


def train(config: TaskConfig, preset: str, run_dir: Path | None) -> int:
    """Train and measure into a new run directory; the exit status."""
    torch.set_num_threads(config.threads)
    _check_device(config.device)
    task = build_task(config)
    run = RunDirectory.create(
        run_dir or _default_run_dir(preset, config.seed),
        kind=KIND,
        preset=preset,
        config={"task": config.task, **to_dict(config)},
    )
    console = Console(stderr=True)
    console.print(f"run directory: {run.path}", highlight=False, soft_wrap=True)
    nets = task.nets() if config.controls else task.nets()[:1]
    measured = []
    for position, net in enumerate(nets):
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
        }
        run.write_evaluation(record)  # at once: a control may be interrupted
        if position == 0:
            _draw(task, module, run, console)
    return 0


def _train_and_measure(
    task: Task[Any], name: str, net: nn.Module, position: int, run: RunDirectory, console: Console
) -> dict[str, Any]:
    """What ``evaluation.json`` says of one net. One without parameters is not trained."""
    config = task.config
    n_parameters = sum(p.numel() for p in net.parameters() if p.requires_grad)
    n_updates, seconds = 0, 0.0
    if n_parameters:
        n_updates = config.n_updates
        started = time.perf_counter()
        prefix = "" if position == 0 else f"{name}/"
        _train(task, net, name, MetricsLog(run.metrics_path), prefix)
        seconds = time.perf_counter() - started
        folder = run.path / "checkpoints" / f"{position}"
        save_checkpoint(folder, n_updates, {"net": net.state_dict()})
    result = evaluate(task, net)
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
        "train_episodes": n_updates * config.batch_size,
        "parameters": n_parameters,
        "seconds": seconds,
    }


def _draw(task: Task[Any], net: nn.Module, run: RunDirectory, console: Console) -> None:
    for path in task.pictures(net, run.path):
        console.print(f"picture: {path}", highlight=False, soft_wrap=True)


def _train(task: Task[Any], net: nn.Module, doing: str, log: MetricsLog, prefix: str) -> None:
    config = task.config
    random = generator(config.seed, config.device)
    optimizer = task.optimizer(net)
    smooth = None
    with _progress(doing, config.n_updates) as advance:
        for update in range(1, config.n_updates + 1):
            episodes = task.sample(config.batch_size, random, held_out=False)
            optimizer.zero_grad()
            loss = task.loss(net, episodes)
            loss.backward()  # type: ignore[no-untyped-call]
            trained = [p for p in net.parameters() if p.requires_grad]
            norm = nn.utils.clip_grad_norm_(trained, config.max_grad_norm)
            value = loss.item()
            if not (torch.isfinite(norm) and torch.isfinite(loss.detach())):
                raise FloatingPointError(
                    f"{doing}: the loss is {value} after {update - 1} updates; "
                    "lower the learning rate"
                )
            optimizer.step()
            smooth = value if smooth is None else SMOOTHING * smooth + (1 - SMOOTHING) * value
            advance(smooth)
            if update % max(1, config.n_updates // REPORTS) == 0:
                step = update * config.batch_size
                log.append(
                    step, {f"{prefix}train/loss": smooth, f"{prefix}train/grad_norm": norm.item()}
                )


@contextmanager
def _progress(doing: str, total: int) -> Iterator[Any]:
    console = Console(stderr=True)
    progress = Progress(
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
    shown = progress.add_task("", total=total, loss="-")
    with progress:
        yield lambda loss: progress.update(shown, advance=1, loss=f"{loss:.4g}")


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0]
        raise TaskError(
            f"device {device!r} is not to be had here, use cpu: {first_line}"
        ) from error


def _default_run_dir(preset: str, seed: int) -> Path:
    return Path("logs") / f"{preset}-seed{seed}-{time.strftime('%Y%m%d-%H%M%S')}"
