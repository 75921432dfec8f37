"""``train_supervised.py``: flags -> config -> run, and one clear sentence where that cannot be."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from plasticrl.runs import (
    Elsewhere,
    RunDirectory,
    RunError,
    UsageError,
    check_preset,
    guarded,
    parse_flags,
    parse_preset,
    resuming,
    say_loading,
)
from plasticrl.tasks.config import KIND, TaskConfig
from plasticrl.tasks.data_command import report
from plasticrl.tasks.registry import PRESETS

SCRIPT = "train_supervised.py"


@dataclass(frozen=True, kw_only=True)
class EvaluateArguments:
    """Say what a supervised run measured when its training ended."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    json: bool = False
    """Print one JSON object, and nothing else, on stdout."""


@dataclass(frozen=True, kw_only=True)
class ResumeArguments:
    """Go on with a run that was interrupted, with its own settings."""

    resume: Path
    """Folder of the run."""


@dataclass(frozen=True, kw_only=True)
class DataArguments:
    """Say which data sets are embedded, and which were found in the data root."""

    data_root: str | None = None
    """Folder of the data sets that are not embedded; by default what PLASTICRL_DATA names."""


def train_main(argv: Sequence[str] | None = None, elsewhere: Elsewhere | None = None) -> int:
    """``train_supervised.py``; the exit status.

    Args:
        argv: by default the process's own.
        elsewhere: for whoever names a preset of the other script.
    """
    arguments = sys.argv[1:] if argv is None else argv
    return guarded(partial(_train, elsewhere=elsewhere), arguments)


def evaluate_main(argv: Sequence[str]) -> int:
    """``evaluate.py`` of a supervised run; the exit status."""
    return guarded(_evaluate, argv)


def is_task(argv: Sequence[str]) -> bool:
    """Whether ``evaluate.py`` is asked for a supervised run."""
    for folder in (Path(word) for word in argv if not word.startswith("-")):
        try:
            if RunDirectory.open(folder).kind == KIND:
                return True
        except (RunError, OSError):
            continue  # not a run: who evaluates agents says what is wrong with it
    return False


def _train(argv: Sequence[str], elsewhere: Elsewhere | None) -> int:
    if any(word.partition("=")[0] == "--resume" for word in argv):
        arguments = parse_flags(ResumeArguments, argv)
        RunDirectory.open(arguments.resume)  # what is wrong with it is said before torch is loaded
        say_loading(f"resuming {arguments.resume}")
        from plasticrl.tasks import training  # late: --help needs no torch

        return training.resume(arguments.resume)
    presets = {name: make() for name, make in PRESETS.items()}
    commands: dict[str, tuple[str, Any]] = {
        name: ((PRESETS[name].__doc__ or "").splitlines()[0], _arguments(name, config))
        for name, config in presets.items()
    }
    commands["data"] = ("Instead of training: which data sets there are.", DataArguments())
    check_preset(argv, commands, SCRIPT, elsewhere)
    chosen = parse_preset(
        commands,
        argv,
        "Train on a supervised task. Choose a preset; flags change it. "
        "Or go on with a run: --resume RUN.",
    )
    if isinstance(chosen, DataArguments):
        print(*report(chosen.data_root), sep="\n")
        return 0
    kind = type(presets[chosen.preset])
    config = kind(**{item.name: getattr(chosen, item.name) for item in fields(kind)})
    say_loading(chosen.preset)
    from plasticrl.tasks import training

    return training.train(config, chosen.preset, chosen.run_dir)


def _evaluate(argv: Sequence[str]) -> int:
    flags = {word.partition("=")[0] for word in argv if word.startswith("-")}
    if others := sorted(flags - {"--json", "--no-json", "--help", "-h"}):
        raise UsageError(
            f"a supervised run has no {', '.join(others)}: it was measured and drawn when its "
            "training ended; --json and --plot FILE are for it"
        )
    arguments = parse_flags(EvaluateArguments, argv)
    run = RunDirectory.open(arguments.run)
    if not run.evaluation_path.exists():
        raise RunError(
            f"{run.path} has no {run.evaluation_path.name} yet: its training did not end; "
            f"if it was interrupted, go on with: {resuming(SCRIPT, run.path)}"
        )
    record = run.read_evaluation()
    if arguments.json:
        print(json.dumps(record))
        return 0
    try:
        lines = list(_lines(record))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run.evaluation_path} is not as written: {error!r}") from error
    print(f"{run.preset}: {lines[0]}", *lines[1:], sep="\n  ")
    return 0


def _lines(record: dict[str, Any]) -> Iterator[str]:
    """What ``evaluation.json`` says, first what was measured."""
    yield f"{record['metric']}, on {record['episodes']:,} held-out episodes"
    nets = (record, *record["controls"])
    has_target = any(one["stopped"] == "target" for one in nets)
    for one in nets:
        yield f"{one['net']}: {_told(one, has_target)}"
    if record["not_measured"]:
        yield f"not measured: {'; '.join(record['not_measured'])}"


def _told(one: dict[str, Any], has_target: bool) -> str:
    """What was measured of a net, and where its training ended.

    Args:
        has_target: a net of the run reached it, and one that did not was given up.
    """
    value, low, high = (_number(value) for value in (one["value"], *one["ci95"]))
    told = f"{value} ({low} to {high})"
    if not one["parameters"]:
        return told
    given_up = "given up " if has_target and one["stopped"] != "target" else ""
    return (
        f"{told}, {given_up}after {one['train_episodes']:,} episodes, "
        f"{one['parameters']:,} parameters"
    )


def _number(value: float | None) -> str:
    """A number of ``evaluation.json``, which has null for what was not finite."""
    return "not finite" if value is None else f"{value:.4g}"


def _arguments(preset: str, config: TaskConfig) -> Any:
    """The config with what else the command takes; checked later, for one line and not a box."""
    where = tyro.conf.arg(help="Folder of the run. By default a new one under logs/.")
    arguments = make_dataclass(
        "Arguments",
        [
            ("preset", tyro.conf.Suppress[tyro.conf.Fixed[str]], field(default="")),
            ("run_dir", Annotated[Path | None, where], field(default=None)),
        ],
        bases=(type(config),),
        namespace={"__post_init__": lambda _: None, "__doc__": type(config).__doc__},
        frozen=True,
        kw_only=True,
    )
    values = {item.name: getattr(config, item.name) for item in fields(config)}
    return arguments(**values, preset=preset)
