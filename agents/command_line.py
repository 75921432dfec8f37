"""The command line: flags -> config -> library, and one clear sentence where that cannot be.

Only tyro and the config layer are imported before the arguments are known to be good, so that
``--help`` is quick.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from plasticrl.agents.training.config import CoreConfig, OptionValue, TrainConfig
from plasticrl.agents.training.presets import PRESETS
from plasticrl.agents.watching import gallery
from plasticrl.runs import (
    Elsewhere,
    RunDirectory,
    UsageError,
    check_preset,
    guarded,
    parse_flags,
    parse_preset,
    python_here,
    say_loading,
)

_IN_JSON = {"True": "true", "False": "false", "None": "null"}


def _parse_options(tokens: list[str]) -> dict[str, OptionValue]:
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
        options[name] = value
    return options


_NAME_VALUE = tyro.constructors.PrimitiveConstructorSpec(
    nargs="*",
    metavar="NAME=VALUE",
    instance_from_str=_parse_options,
    is_instance=lambda value: isinstance(value, dict),
    str_from_instance=lambda options: [f"{name}={json.dumps(v)}" for name, v in options.items()],
)


@dataclass(frozen=True, kw_only=True)
class TrainArguments(TrainConfig):
    """Everything that ``train_rl.py`` takes: a run's config, and where it goes."""

    preset: tyro.conf.Suppress[tyro.conf.Fixed[str]] = ""
    env_kwargs: Annotated[dict[str, OptionValue], _NAME_VALUE] = field(default_factory=dict)
    """Options of the environment; those not named keep the preset's value."""
    run_dir: Path | None = None
    """Folder of the run. By default a new one under logs/."""
    resume: Path | None = None
    """Go on with the run in this folder, with its own settings. Of the other flags only
    --total-timesteps may be given, to train longer."""

    def __post_init__(self) -> None:
        """Nothing: the ``TrainConfig`` made of it checks, and says it in one line, not in a box."""


@dataclass(frozen=True, kw_only=True)
class EvaluateArguments:
    """Measure, watch or record a trained agent, or replay a recorded episode.

    Of a run of train_supervised.py, say what was measured when its training ended, if need be as
    --json; of the flags below, only --plot is for it besides.
    """

    run: tyro.conf.Positional[Path | None] = None
    """Folder of the run; or an episode's FILE.npz, to --watch, --record otherwise or --report."""
    gallery: str | None = None
    """Instead of a run: a trained agent that is installed, as maze. With --watch, --record or
    --report it is not measured again."""
    episodes: int = 256
    """Episodes to measure over."""
    seed: int = 1_000_000
    """Episode k is played with seed + k; keep it away from the training seeds."""
    deterministic: bool = False
    """Take the most likely action instead of sampling."""
    ablate_plasticity: bool = False
    """Measure also with every plasticity coefficient set to zero."""
    json: bool = False
    """Print one JSON object, and nothing else, on stdout."""
    watch: bool = False
    """Play one episode in the terminal."""
    record: Path | None = None
    """Write one episode to FILE.gif, FILE.webp or FILE.mp4, or to FILE.npz to replay it."""
    report: Path | None = None
    """Write four episodes to FILE.html, one page that plays them with plasticity and without."""
    plot: Path | None = None  # for --help: where it is given, PlotArguments are parsed
    """Draw the learning curves of RUN RUN ... to FILE.png or FILE.svg instead; --plot --help says
    more."""

    def check(self) -> None:
        """Raise ``UsageError`` for what cannot be."""
        if (self.run is None) == (self.gallery is None):
            raise UsageError(
                "name one: a run's folder, an episode's FILE.npz, or --gallery "
                f"{'|'.join(gallery.names())}, as in: {python_here()} evaluate.py "
                "--gallery maze --watch; --help says more"
            )
        if self.episodes < 2:
            raise UsageError(f"episodes must be at least 2 for an interval, not {self.episodes}")
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"seed must be from 0 to {2**31 - 1}, not {self.seed}")
        if self.json and self.watch:
            raise UsageError(
                "--json prints JSON alone on stdout: give --watch in a call of its own"
            )
        if not self.measures:
            for name in ("episodes", "json", "ablate_plasticity"):
                if getattr(self, name) != getattr(EvaluateArguments(), name):
                    raise UsageError(
                        f"--gallery only shows the agent with --watch, --record or --report: "
                        f"give --{name.replace('_', '-')} in a call of its own"
                    )

    @property
    def measures(self) -> bool:
        """Whether the agent is measured: one of the gallery has been, and is shown at once."""
        return self.gallery is None or not (self.watch or self.record or self.report)


@dataclass(frozen=True, kw_only=True)
class PlotArguments:
    """Draw the learning curves of runs: the mean over seeds, and its 95 % bootstrap interval."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of the runs, all of them agents' or all supervised."""
    plot: Path
    """Picture to write, FILE.png or FILE.svg."""
    metric: str | None = None
    """A metric of metrics.jsonl. By default rollout/ep_rew_mean; of supervised runs train/loss,
    also of their control nets."""
    by: tuple[str, ...] = ()
    """Settings that tell curves apart, as core.modulation; the preset always does."""
    average: Literal["mean", "iqm"] = "mean"
    """Over the seeds: their mean, or the mean of their middle half."""


def parse_train(argv: Sequence[str], elsewhere: Elsewhere | None = None) -> TrainArguments:
    """The arguments of ``train_rl.py``: presets as subcommands, config fields as flags.

    Raises:
        UsageError: the preset or a flag is none.
    """
    resumes = any(flag.partition("=")[0] == "--resume" for flag in argv)
    if resumes and argv[0] not in PRESETS:
        return parse_flags(_ResumeArguments, argv).as_train()
    check_preset(argv, PRESETS, "train_rl.py", elsewhere)
    presets = {name: make() for name, make in PRESETS.items()}
    arguments = _parse(argv, {name: preset.core for name, preset in presets.items()})
    preset = presets[arguments.preset]
    core, env_kwargs = arguments.core, arguments.env_kwargs
    if core.name != preset.core.name:
        # Another core has other options: keep what was asked for, and what it shares with every
        # core, and leave the rest of the preset's behind.
        given = _parse(argv, {name: CoreConfig(name=core.name) for name in presets}).core
        shared = {} if core.name == "identity" else {"hidden_size": core.hidden_size}
        core = CoreConfig(name=core.name, **(shared | given.options()))
    if arguments.env_id == preset.env_id:
        env_kwargs = preset.env_kwargs | env_kwargs
    return replace(arguments, core=core, env_kwargs=env_kwargs)


def _parse(argv: Sequence[str], cores: dict[str, CoreConfig]) -> TrainArguments:
    configs = {}
    for name, make in PRESETS.items():
        values = {item.name: getattr(make(), item.name) for item in fields(TrainConfig)}
        values |= {"core": cores[name], "env_kwargs": {}, "preset": name}
        configs[name] = ((make.__doc__ or "").splitlines()[0], TrainArguments(**values))
    return parse_preset(
        configs,
        argv,
        "Train a plastic agent. Choose a preset; flags change it. "
        "Or go on with a run: --resume RUN.",
    )


@dataclass(frozen=True, kw_only=True)
class _ResumeArguments:
    """Go on with a run, with its own settings."""

    resume: Path
    """Folder of the run."""
    total_timesteps: int | None = None
    """Train up to this many steps instead of the run's own number."""

    def as_train(self) -> TrainArguments:
        if self.total_timesteps is None:
            return TrainArguments(resume=self.resume)
        return TrainArguments(resume=self.resume, total_timesteps=self.total_timesteps)


def is_plot(argv: Sequence[str]) -> bool:
    """Whether ``evaluate.py`` is asked for learning curves."""
    return any(word.partition("=")[0] == "--plot" for word in argv)


def changed_settings(arguments: TrainArguments) -> dict[str, Any]:
    """The settings that differ from the preset's own, by field."""
    preset = PRESETS[arguments.preset]() if arguments.preset else TrainConfig()
    return {
        item.name: getattr(arguments, item.name)
        for item in fields(TrainConfig)
        if getattr(arguments, item.name) != getattr(preset, item.name)
    }


def train_main(argv: Sequence[str] | None = None, elsewhere: Elsewhere | None = None) -> int:
    """``train_rl.py``; ``elsewhere`` is for whoever names a preset of the other script."""
    arguments = sys.argv[1:] if argv is None else argv
    return guarded(partial(_train, elsewhere=elsewhere), arguments)


def evaluate_main(argv: Sequence[str] | None = None) -> int:
    """``evaluate.py``."""
    return guarded(_evaluate, sys.argv[1:] if argv is None else argv)


def _train(argv: Sequence[str], elsewhere: Elsewhere | None) -> int:
    arguments = parse_train(argv, elsewhere)
    config = TrainConfig(
        **{item.name: getattr(arguments, item.name) for item in fields(TrainConfig)}
    )
    if arguments.resume is None:
        say_loading(arguments.preset)
        from plasticrl.agents.training.session import train

        return train(config, arguments.preset, arguments.run_dir)
    if arguments.run_dir is not None:
        raise UsageError("--resume goes on in the run's own folder: leave --run-dir out")
    changed = changed_settings(arguments)
    total_timesteps = changed.pop("total_timesteps", None)
    if changed:
        raise UsageError(
            f"--resume goes on with the run's own settings: leave out {', '.join(changed)}"
        )
    RunDirectory.open(arguments.resume)  # what is wrong with it is said before torch is loaded
    say_loading(f"resuming {arguments.resume}")
    from plasticrl.agents.training.session import resume

    return resume(arguments.resume, arguments.preset or None, total_timesteps)


def _evaluate(argv: Sequence[str]) -> int:
    if is_plot(argv):
        asks = any(word in ("-h", "--help") for word in argv)
        plot_arguments = parse_flags(PlotArguments, ["--help"] if asks else argv)
        from plasticrl.agents.curves import plot

        return plot(plot_arguments)
    arguments = parse_flags(EvaluateArguments, argv)
    arguments.check()
    path = arguments.run if arguments.gallery is None else gallery.folder(arguments.gallery)
    assert path is not None  # checked
    if path.suffix.lower() == ".npz" and not path.is_dir():
        from plasticrl.agents.replay import replay

        return replay(path, arguments)
    RunDirectory.open(path)  # what is wrong with it is said before torch is loaded
    if not arguments.json:
        say_loading(arguments.gallery or str(path))
    from plasticrl.agents.report import report

    return report(path, arguments)
