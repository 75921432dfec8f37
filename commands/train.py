"""``plasticrl train``: train an agent or a net on a supervised task, or resume a run."""

import json
import os
import shlex
import shutil
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro

from plasticrl.agents.options import CORES
from plasticrl.agents.training.config import OptionValue, TrainConfig
from plasticrl.agents.training.presets import GENERIC
from plasticrl.agents.training.presets import PRESETS as AGENT_PRESETS
from plasticrl.agents.training.variants import vary_config
from plasticrl.commands.flags import (
    flag_paths,
    flag_words,
    flags_in_errors,
    given_values,
    nearest,
    with_flags,
)
from plasticrl.commands.parse import parse_flags, unchecked
from plasticrl.commands.program import (
    COMMANDS,
    INTERRUPTED,
    command_line,
    import_from_here,
    say,
    say_damaged,
    say_loading,
)
from plasticrl.commands.progress import ProgressBar
from plasticrl.commands.seeds import SEEDS
from plasticrl.core.cells import vary_core
from plasticrl.core.cells.configs import CellConfig
from plasticrl.runs import DivergedError, RunDirectory, UsageError, UserCodeError, WriteError
from plasticrl.runs.directory import check_empty
from plasticrl.tasks.config import KIND as SUPERVISED
from plasticrl.tasks.config import CoreTaskConfig, TaskConfig
from plasticrl.tasks.registry import PRESETS as TASK_PRESETS

PRESETS = AGENT_PRESETS | TASK_PRESETS
SHORT_TRAINING = 0.5
"""A note warns of a training with less than this part of the preset's steps."""
_IN_JSON = {"True": "true", "False": "false", "None": "null"}
_CORE_NAME: Any = Annotated[
    Literal[CORES],
    tyro.conf.arg(help="The kind of the core. Each kind has its own options."),
]
_RUN_DIR = tyro.conf.arg(help="Folder of the run. By default a new one under logs/.")
_DISTRIBUTED = tyro.conf.arg(
    help="Train in several processes, which torchrun starts: each has an equal share of the "
    "environments, and the gradients are averaged."
)
_SEEDS_HELP = tyro.conf.arg(
    help="Train a run for each of these seeds, such as 0..8 (with both ends) or 0 1 5, instead of "
    "--seed. With --run-dir, the runs are in its folders seed0, seed1 and so on."
)


class AgentArguments(NamedTuple):
    """What the flags of an agent's training say."""

    config: TrainConfig
    run_dir: Path | None
    """The folder that a flag names."""
    seeds: tuple[int, ...]
    """Empty if ``--seeds`` is not given."""
    dropped: dict[str, Any]
    """The settings of the preset that ``vary_config`` has dropped."""
    distributed: bool
    """Whether this is one of several processes that train the agent together."""


@dataclass(frozen=True, kw_only=True)
class ResumeArguments:
    """Continue a run from its latest checkpoint, with its own settings."""

    resume: Path
    """Folder of the run."""
    total_timesteps: int | None = None
    """Number of steps, counted from the start of the run, at which the training of an agent ends;
    by default the run's own setting."""
    allow_import: tuple[str, ...] = ()
    """Modules with environments or wrappers that the run may import."""
    device: str | None = None
    """cpu, cuda (or cuda:1, ...), or auto: the device on which the training of an agent continues;
    by default the run's own setting, which this flag does not change."""
    distributed: bool = False
    """Continue the training of an agent in several processes, which torchrun starts."""


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    if "--resume" in flag_words(argv):
        return _resume(argv)
    if argv and argv[0] in ("-h", "--help"):
        print(_usage())
        return 0
    check_preset(argv)
    preset, flags = argv[0], argv[1:]
    config = PRESETS[preset]()
    if isinstance(config, TaskConfig):
        return _train_task(preset, config, flags)
    return _train_agent(preset, config, flags)


def _usage() -> str:
    command = command_line("train")
    lines = [
        "usage:",
        f"  {command} PRESET [--run-dir DIR] [flags]",
        f"  {command} PRESET --seeds 0..4 [--run-dir DIR] [flags]",
        f"  {command} --resume DIR",
        "",
    ]
    width = shutil.get_terminal_size().columns
    for title, presets in (("agents", AGENT_PRESETS), ("supervised tasks", TASK_PRESETS)):
        lines.append(f"{title}:")
        for name, make in presets.items():
            about = (make.__doc__ or "").splitlines()[0].replace("``", "")
            lines += textwrap.wrap(f"  {name:<24}{about}", width, subsequent_indent=" " * 26)
        lines.append("")
    return "\n".join([*lines, f"All settings of a preset: {command} PRESET --help"])


def check_preset(argv: Sequence[str]) -> None:
    """Raise ``UsageError``, which suggests a preset, if the first word is not a preset."""
    word = argv[0] if argv else "-"
    if word in PRESETS:
        return
    command = command_line("train")
    if word.startswith("-"):
        of_script = TASK_PRESETS if command.endswith("train_supervised.py") else AGENT_PRESETS
        raise UsageError(
            f"name a preset first, as in: {command} {next(iter(of_script))}; "
            f"{command} --help lists all of them; to continue a run: {command} --resume RUN"
        )
    if word in COMMANDS:
        raise UsageError(f"{word!r} is not a preset but a command: {command_line(word)}")
    close = [name for name in PRESETS if name.startswith(f"{word}-")]
    close = close or nearest(word, list(PRESETS))
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(PRESETS)}"
    raise UsageError(f"there is no preset {word!r}: {hint}")


def _prog(preset: str) -> str:
    return f"{command_line('train')} {preset}"


def _train_agent(preset: str, config: TrainConfig, flags: Sequence[str]) -> int:
    arguments = parse_agent(preset, config, flags)
    chosen = arguments.config
    _check_env_id(preset, flags)
    say_loading(preset)
    import_from_here(chosen.modules)
    if arguments.seeds:
        return _train_seeds(preset, arguments)
    return _train_seed(preset, arguments, arguments.run_dir or _new_run_dir(preset, chosen.seed))


def _check_env_id(preset: str, flags: Sequence[str]) -> None:
    """Raise ``UsageError`` if the preset has no environment and the flags name none."""
    if preset in GENERIC and not {"--env-id", "--env_id"}.intersection(flag_words(flags)):
        raise UsageError(
            f"{preset} needs --env-id, as in: {_prog(preset)} --env-id CartPole-v1; an environment "
            "of your own module is named --env-id module:MyEnv-v0"
        )


def _train_seed(preset: str, arguments: AgentArguments, path: Path) -> int:
    from plasticrl.agents.training.run import TrainingRun

    config = arguments.config
    form = type(_agent_form(config, ()))
    with flags_in_errors(form):
        ranks = _ranks(arguments.distributed, config.device)
        run = TrainingRun.start(config, preset, path, arguments.dropped, ranks)
    with _quiet_unless(ranks.is_main):
        _say_what_differs(preset, arguments, form)
        return _learn_agent(run)


def _ranks(distributed: bool, device: str) -> Any:
    """The processes that train the agent together."""
    from plasticrl.agents.distributed import ALONE, join_ranks

    return join_ranks(device) if distributed else ALONE


@contextmanager
def _quiet_unless(speaks: bool) -> Iterator[None]:
    """A context in which only one of several processes prints; errors are raised through it."""
    if speaks:
        yield
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        yield


def _say_what_differs(preset: str, arguments: AgentArguments, form: type[Any]) -> None:
    """Say which settings of the preset are dropped, and whether the training is short."""
    n_steps, n_preset = arguments.config.total_timesteps, AGENT_PRESETS[preset]().total_timesteps
    if preset not in GENERIC and n_steps < SHORT_TRAINING * n_preset:
        say(
            f"this run trains for {n_steps:,} steps and the preset for {n_preset:,}: the agent may "
            "not learn the task"
        )
    _say_dropped(arguments.dropped, form)


def _say_dropped(dropped: dict[str, Any], form: type[Any]) -> None:
    """Say which settings of the preset are dropped, if there are any."""
    if dropped:
        settings = ", ".join(_typed(name, value, form) for name, value in dropped.items())
        say(f"with these flags, settings of the preset are dropped: {settings}")


def _train_seeds(preset: str, arguments: AgentArguments) -> int:
    """Train the runs of several seeds, together if that is possible."""
    from plasticrl.agents.training.together import JointRuns, why_not_together

    config, folder = arguments.config, arguments.run_dir
    paths = {
        seed: _new_run_dir(preset, seed) if folder is None else folder / f"seed{seed}"
        for seed in arguments.seeds
    }
    for path in paths.values():
        check_empty(path)  # before any run begins
    if (reason := why_not_together(config)) is None:
        form = type(_agent_form(config, ()))
        with flags_in_errors(form):
            runs = JointRuns.start(config, preset, paths, arguments.dropped)
        _say_what_differs(preset, arguments, form)
        return _learn_together(runs, form)
    say(f"the seeds are trained one after the other, because {reason}")
    seeds = list(paths)
    for number, seed in enumerate(seeds):
        own = arguments._replace(config=replace(config, seed=seed))
        status = INTERRUPTED
        try:
            status = _train_seed(preset, own, paths[seed])
        finally:
            if status and (left := seeds[number + 1 :]):
                say(f"not begun: --seeds {' '.join(map(str, left))}")
        if status:
            return status
    return 0


def _learn_together(training: Any, form: type[Any]) -> int:
    from plasticrl.runs import TrainingSession

    runs = training.runs
    for run in runs:
        say(f"run directory of seed {run.config.seed}: {run.run.path}")
    try:
        with _advice_in_errors(runs), flags_in_errors(form):
            done = training.learn(TrainingSession(ProgressBar(partial(with_flags, form=form))))
    except KeyboardInterrupt:
        for run in runs:
            _interrupted(run.run)
        return INTERRUPTED
    paths = " ".join(shlex.quote(str(run.run.path)) for run in runs)
    trained = "1 seed" if len(runs) == 1 else f"{len(runs)} seeds"
    say(
        f"trained {trained} for {done[0].n_timesteps:,} steps each in "
        f"{done[0].seconds:.0f} s; draw their curves with: {command_line('evaluate')} {paths} "
        "--plot curves.png"
    )
    return 0


@contextmanager
def _advice_in_errors(runs: Sequence[Any]) -> Iterator[None]:
    """A context that adds to an error of a training how to continue its runs."""
    try:
        yield
    except (DivergedError, UserCodeError, WriteError) as error:
        for run in runs:
            if run.model.num_timesteps < run.total_timesteps:
                error.add_note(_how_to_continue(run.run, _more_flags(run)))
        raise


def _typed(name: str, value: Any, form: type[Any]) -> str:
    """A setting of a preset as the user would type it."""
    part, _, option = name.rpartition(".")
    if part == "env_kwargs":
        return f"--env-kwargs {option}={value}"
    words = f"'{' '.join(map(str, value))}'" if isinstance(value, tuple) else value
    return with_flags(f"{name}={words}", form)


def parse_agent(preset: str, config: TrainConfig, flags: Sequence[str]) -> AgentArguments:
    """Change a preset by flags.

    Raises:
        UsageError: a flag does not exist, or has an invalid value.
    """
    form = _agent_form(config, flags)
    about = f"Train an agent: {preset}. Flags change the preset."
    parsed = parse_flags(type(form), flags, form, prog=_prog(preset), description=about)
    given = given_values(flags, parsed)
    run_dir, seeds = given.pop("run_dir", None), given.pop("seeds", ())
    distributed = given.pop("distributed", False)
    if seeds and "seed" in given:
        raise UsageError("--seed and --seeds cannot be used together: leave one out")
    if seeds and distributed:
        raise UsageError("--seeds and --distributed cannot be used together: leave one out")
    with flags_in_errors(type(form)):
        chosen, dropped = vary_config(config, given)
    return AgentArguments(chosen, run_dir, seeds, dropped, distributed)


def _agent_form(config: TrainConfig, flags: Sequence[str]) -> Any:
    """Make the dataclass into which the flags are parsed, with the values of ``config``.

    Its options of the core are those of the core that ``--core.name`` chooses.
    """
    core = _core_part(config.core, flags)
    algorithm_form = unchecked(type(config.algorithm))
    curriculum_form = unchecked(type(config.curriculum))
    form = unchecked(
        type(config),
        ("core", type(core), None),
        (config.name, algorithm_form, None),
        ("curriculum", curriculum_form, None),
        ("env_kwargs", Annotated[dict[str, OptionValue], _NAME_VALUE], None),
        ("run_dir", Annotated[Path | None, _RUN_DIR], None),
        ("seeds", Annotated[tuple[int, ...], SEEDS, _SEEDS_HELP], ()),
        ("distributed", Annotated[bool, _DISTRIBUTED], False),
    )
    parts = {
        "core": core,
        config.name: _copy(config.algorithm, algorithm_form),
        "curriculum": _copy(config.curriculum, curriculum_form),
        "env_kwargs": {},
    }
    return form(**(_values(config) | parts))


def _core_part(core: CellConfig, flags: Sequence[str]) -> Any:
    """Make the part of a form that has the options of the core that ``--core.name`` chooses.

    Args:
        core: the core of the preset. Another core has its values of the options that both have.
    """
    name = _core_name(flags)
    chosen = vary_core(core, {"name": name})[0] if name in CORES else core
    return _copy(chosen, unchecked(type(chosen), ("name", _CORE_NAME, chosen.name)))


def _core_name(flags: Sequence[str]) -> str | None:
    """The value of the last flag ``--core.name``; None if it is not given."""
    name = None
    for index, word in enumerate(flags):
        flag, equals, value = word.partition("=")
        if flag == "--core.name":
            name = value if equals else " ".join(flags[index + 1 : index + 2])
    return name


def _copy(config: Any, form: type[Any]) -> Any:
    """Copy a config into a dataclass that ``unchecked`` has made from its type."""
    return form(**_values(config))


def _values(config: Any) -> dict[str, Any]:
    return {item.name: getattr(config, item.name) for item in fields(config)}


def _parse_options(tokens: list[str]) -> dict[str, OptionValue]:
    """Parse words ``name=value``; a value that is not JSON is a string."""
    options: dict[str, OptionValue] = {}
    for token in tokens:
        name, equals, text = token.partition("=")
        if not (name and equals):
            raise ValueError(f"expected name=value, got {token!r}")
        try:
            value = json.loads(_IN_JSON.get(text, text))
        except json.JSONDecodeError:
            value = text
        if isinstance(value, list | dict):
            raise ValueError(f"{name} must be a number, a word, true, false or null, not {text}")
        if name in options:
            raise ValueError(f"{name} is given twice")
        options[name] = value
    return options


_NAME_VALUE = tyro.constructors.PrimitiveConstructorSpec(
    nargs="*",
    metavar="NAME=VALUE",
    instance_from_str=_parse_options,
    is_instance=lambda value: isinstance(value, dict),
    str_from_instance=lambda options: [f"{name}={json.dumps(v)}" for name, v in options.items()],
)
"""How tyro parses ``env_kwargs``."""


def _train_task(preset: str, config: TaskConfig, flags: Sequence[str]) -> int:
    chosen, run_dir, dropped = _parse_task(preset, config, flags)
    form = type(_task_form(chosen, ()))
    with flags_in_errors(form):
        say_loading(preset)
        from plasticrl.tasks.training import SupervisedRun

        path = run_dir or _new_run_dir(preset, chosen.seed)
        run = SupervisedRun.start(chosen, preset, path, dropped)
    _say_dropped(dropped, form)
    return _learn_task(run)


def _parse_task(
    preset: str, config: TaskConfig, flags: Sequence[str]
) -> tuple[TaskConfig, Path | None, dict[str, Any]]:
    """Change a task's preset by flags.

    Returns:
        The config, the folder that a flag names, and the settings of the preset's core that have no
        meaning with these flags.
    """
    form = _task_form(config, flags)
    about = f"Train on a supervised task: {preset}. Flags change the preset."
    parsed = parse_flags(type(form), flags, form, prog=_prog(preset), description=about)
    given = given_values(flags, parsed)
    run_dir, prefix = given.pop("run_dir", None), "core."
    of_core = {
        name.removeprefix(prefix): given.pop(name)
        for name in tuple(given)
        if name.startswith(prefix)
    }
    dropped: dict[str, Any] = {}
    with flags_in_errors(type(form)):
        if isinstance(config, CoreTaskConfig):
            given["core"], dropped = vary_core(config.core, of_core)
        chosen = replace(config, **given)
    return chosen, run_dir, {f"{prefix}{name}": value for name, value in dropped.items()}


def _task_form(config: TaskConfig, flags: Sequence[str]) -> Any:
    """Make the dataclass into which the flags are parsed, with the values of ``config``."""
    extra: list[tuple[str, Any, Any]] = [("run_dir", Annotated[Path | None, _RUN_DIR], None)]
    values = _values(config)
    if isinstance(config, CoreTaskConfig):
        values["core"] = _core_part(config.core, flags)
        extra.append(("core", type(values["core"]), None))
    return unchecked(type(config), *extra)(**values)


def parse_training(preset: str, flags: Sequence[str]) -> TrainConfig | TaskConfig:
    """Return the config of the run that ``plasticrl train PRESET FLAGS`` would begin.

    Raises:
        UsageError: a flag does not exist, or has an invalid value.
    """
    config = PRESETS[preset]()
    if isinstance(config, TaskConfig):
        return _parse_task(preset, config, flags)[0]
    _check_env_id(preset, flags)
    return parse_agent(preset, config, flags).config


def training_form(preset: str, core: str | None = None) -> type[Any]:
    """The dataclass of the flags of ``plasticrl train PRESET --core.name CORE``."""
    config, flags = PRESETS[preset](), [] if core is None else ["--core.name", core]
    if isinstance(config, TaskConfig):
        return type(_task_form(config, flags))
    return type(_agent_form(config, flags))


def _resume(argv: Sequence[str]) -> int:
    known = list(flag_paths(ResumeArguments))
    others = [word for word in argv[:1] if not word.startswith("-")]
    others += [flag for flag in flag_words(argv) if not nearest(flag[2:], [*known, "help"])]
    if others:
        raise UsageError(
            f"--resume continues with the run's own settings: leave out {', '.join(others)}"
        )
    arguments = parse_flags(ResumeArguments, argv, prog=command_line("train"))
    run = RunDirectory.open(arguments.resume)  # reports a damaged run before torch is loaded
    if run.kind == SUPERVISED:
        for flag in ("total_timesteps", "device", "distributed"):
            value = getattr(arguments, flag)
            if value is not None and value is not False:
                raise UsageError(
                    f"--{flag.replace('_', '-')} is for agents: leave it out to continue a "
                    "supervised run"
                )
    say_loading(f"resuming {arguments.resume}")
    if run.kind == SUPERVISED:
        from plasticrl.tasks.training import SupervisedRun

        return _learn_task(SupervisedRun.resume(arguments.resume))
    from plasticrl.agents.training.run import TrainingRun

    with flags_in_errors(ResumeArguments):
        import_from_here(arguments.allow_import)
        device = arguments.device or run.config.get("device", "auto")
        ranks = _ranks(arguments.distributed, device)
        agent = TrainingRun.resume(
            *(arguments.resume, arguments.total_timesteps, arguments.allow_import),
            *(arguments.device, ranks),
        )
    with _quiet_unless(ranks.is_main):
        return _learn_agent(agent)


def _learn_agent(training: Any) -> int:
    from plasticrl.runs import TrainingSession

    run: RunDirectory = training.run
    say(f"run directory: {run.path}")
    say_damaged(training.damaged)
    if not training.resumes_exactly:
        say(
            f"note: the state of {training.config.env_id} cannot be saved: a run that is resumed "
            "begins new episodes, so its numbers differ from those of an uninterrupted run"
        )
    own, device = run.config["device"], str(training.model.device)
    if own not in ("auto", device):
        say(
            f"note: the training continues on {device} instead of the run's own {own}, so its "
            "numbers differ from those of a run on one device"
        )
    measure = f"{command_line('evaluate')} {shlex.quote(str(run.path))}{_allowing(training.config)}"
    is_over = training.model.num_timesteps >= training.total_timesteps
    form = type(_agent_form(training.config, ()))
    try:
        with _advice_in_errors([training]), flags_in_errors(form):
            progress = (
                ProgressBar(partial(with_flags, form=form)) if training.ranks.is_main else None
            )
            trained = training.learn(TrainingSession(progress, training.ranks.any))
    except KeyboardInterrupt:
        return _interrupted(run, _more_flags(training))
    done = f"trained {trained.n_timesteps:,} steps in {trained.seconds:.0f} s"
    if is_over:
        done = "the run is already complete, and a larger --total-timesteps continues it"
    say(f"{done}; measure with: {measure}")
    return 0


def _learn_task(training: Any) -> int:
    from plasticrl.runs import TrainingSession

    run: RunDirectory = training.run
    say(f"run directory: {run.path}")
    say(f"data: {with_flags(training.describe_data(), type(training.task.config))}")
    try:
        for record in training.learn(TrainingSession(ProgressBar())):
            say(_measured(training.task.metric, record))
            for name in record.get("pictures", ()):
                say(f"picture: {run.path / name}")
    except KeyboardInterrupt:
        return _interrupted(run)
    except (DivergedError, WriteError) as error:
        error.add_note(_how_to_continue(run))
        raise
    say(f"to see these results again: {command_line('evaluate')} {shlex.quote(str(run.path))}")
    return 0


def _measured(metric: str, record: dict[str, Any]) -> str:
    low, high = record["ci95"]
    said = (
        f"{record['net']}: {metric} {record['value']:.4g} ({low:.4g} to {high:.4g}), "
        f"{record['parameters']:,} parameters, {record['seconds']:.0f} s"
    )
    if "ablated_value" not in record:
        return said
    low, high = record["ablated_ci95"]
    return f"{said}; plasticity ablated {record['ablated_value']:.4g} ({low:.4g} to {high:.4g})"


def _interrupted(run: RunDirectory, flags: str = "") -> int:
    """Say how to continue the run, and return the exit status."""
    say(f"interrupted; {_how_to_continue(run, flags)}")
    return INTERRUPTED


def _more_flags(training: Any) -> str:
    """The further flags with which ``--resume`` continues an agent's run on the same terms."""
    values = {
        "--total-timesteps": training.changed_total_timesteps,
        "--device": training.changed_device,
    }
    flags = "".join(f" {flag} {value}" for flag, value in values.items() if value is not None)
    return f"{flags}{_allowing(training.config)}"


def _allowing(config: TrainConfig) -> str:
    """The flag that allows the import of a run's modules."""
    return f" --allow-import {' '.join(config.modules)}" if config.modules else ""


def _how_to_continue(run: RunDirectory, flags: str = "") -> str:
    if not run.path.exists():
        return f"{run.path} is no longer there: if it was moved, resume it in its new place"
    checkpoints = sorted(run.checkpoints_path.rglob("*.pt"))
    if not checkpoints:
        return f"nothing was saved yet: start again, and remove {run.path} if you like"
    return f"saved up to {checkpoints[-1].name}; continue with: {resuming(run.path)}{flags}"


def resuming(path: Path) -> str:
    """The command line that resumes a run."""
    return f"{command_line('train')} --resume {shlex.quote(str(path))}"


def _new_run_dir(preset: str, seed: int) -> Path:
    return Path("logs") / f"{preset}-seed{seed}-{time.strftime('%Y%m%d-%H%M%S')}"
