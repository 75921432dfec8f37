"""The runs of a sweep: presets x seeds x settings, each in a folder of its own.

A run's folder tells whether it has finished, so a sweep keeps no list of its own.
"""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plasticrl.agents.training.config import TrainConfig
from plasticrl.commands.flags import flag_paths, negated
from plasticrl.commands.train import check_preset, parse_training, training_form
from plasticrl.runs import (
    RunDirectory,
    RunError,
    UsageError,
    from_dict,
    read_metrics,
    to_dict,
)
from plasticrl.runs.directory import CONFIG_NAME
from plasticrl.tasks.config import TaskConfig

ENV_KWARGS = "env_kwargs."
NOT_SETTINGS = ("seed", "seeds", "run_dir", "resume", "distributed", "help", "h", "allow_import")
"""Flags of ``plasticrl train`` that a sweep sets itself, or that make no sense in it."""
TRUTH_VALUES = {"true": True, "false": False}
LONGEST_NAME = 200
"""The maximum number of characters of a folder's name."""
_SETTING = re.compile(r"[a-z]\w*(?:\.\w+)*")
_NOT_IN_FILE_NAMES = re.compile(r"[^\w.=,+-]")


@dataclass(frozen=True)
class Trial:
    """One run of a sweep."""

    preset: str
    settings: Mapping[str, str]
    """The values of all settings that ``--vary`` names."""
    seed: int
    flags: tuple[str, ...]
    """The flags of ``plasticrl train PRESET`` for these settings and this seed."""
    config: TrainConfig | TaskConfig
    path: Path
    """The folder of the run."""

    @property
    def name(self) -> str:
        """What the user reads: preset, settings and seed."""
        settings = [f"{name}={value}" for name, value in self.settings.items()]
        return " ".join([self.preset, *settings, f"seed {self.seed}"])

    @property
    def log_path(self) -> Path:
        """The file with the messages of the training, beside the folder of the run."""
        return self.path.with_name(f"{self.path.name}.log")

    @property
    def n_steps(self) -> int:
        """The environment steps of the whole training; in a supervised task, the episodes."""
        if isinstance(self.config, TrainConfig):
            return self.config.total_timesteps
        return self.config.n_updates * self.config.batch_size

    @property
    def has_begun(self) -> bool:
        """Whether the folder has a run with a checkpoint, which ``--resume`` can continue."""
        files = (self.path / "checkpoints").rglob("*.pt")
        return (self.path / CONFIG_NAME).exists() and any(files)

    @property
    def is_finished(self) -> bool:
        """Whether the training has reached its end."""
        if not self.has_begun:
            return False
        if isinstance(self.config, TrainConfig):
            from plasticrl.runs import latest_step  # needs torch

            return latest_step(self.path / "checkpoints") >= self.n_steps
        try:
            measured = RunDirectory.open(self.path).read_evaluation()
        except RunError:
            return False
        is_drawn = "pictures" in measured
        return is_drawn and not (self.config.controls and measured.get("not_measured"))

    def n_done(self) -> int:
        """The number of steps that the run's metrics report so far, at most ``n_steps``."""
        try:
            rows = read_metrics(self.path / "metrics.jsonl")
        except RunError:  # not written yet
            return 0
        return min(self.n_steps, max((row["step"] for row in rows), default=0))

    def check_folder(self) -> None:
        """Raise ``UsageError`` if the folder has a run with other settings, or a damaged one."""
        if not (self.path / CONFIG_NAME).exists():
            return
        run = RunDirectory.open(self.path)
        kind = TrainConfig if isinstance(self.config, TrainConfig) else TaskConfig
        # Options that did not exist when the run began have their values of that time.
        config = from_dict(kind, run.config, f"{self.path / CONFIG_NAME}: config")
        if run.preset != self.preset or config != self.config:
            found, expected = to_dict(config), to_dict(self.config)
            names = sorted(name for name in expected if found.get(name) != expected[name])
            raise UsageError(
                f"{self.path} has a run with other settings ({', '.join(names) or 'its preset'}): "
                "choose another --sweep-dir"
            )


def expand(
    presets: Sequence[str], seeds: Sequence[int], vary: Sequence[str], folder: Path
) -> list[Trial]:
    """Return a trial for each combination of preset, settings and seed.

    Args:
        vary: words ``NAME=VALUE,VALUE,...``.
        folder: the folder of the sweep. A run is in ``PRESET/NAME=VALUE/.../seedN`` within it.

    Raises:
        UsageError: a preset does not exist or is given twice, a setting or its value is invalid,
            or the folder of a run has a run with other settings, or a damaged one.
    """
    values = _parse_vary(vary)
    combinations = [
        dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())
    ]
    if len(set(presets)) < len(presets):
        raise UsageError("a preset is given twice")
    trials = []
    for preset in presets:
        check_preset([preset])
        for settings, seed in itertools.product(combinations, seeds):
            trials.append(_trial(preset, settings, seed, folder))
    seen: dict[object, Trial] = {}
    for trial in trials:
        same = (trial.preset, json.dumps(to_dict(trial.config), sort_keys=True)), trial.path
        for key in same:
            if key in seen:
                raise UsageError(
                    f"{seen[key].name} and {trial.name} are the same run, or would be in the same "
                    "folder: leave one of them out"
                )
            seen[key] = trial
    for trial in trials:
        trial.check_folder()
    return trials


def _parse_vary(words: Sequence[str]) -> dict[str, list[str]]:
    """Parse words ``NAME=VALUE,VALUE,...`` to lists of values by the name of the setting.

    Raises:
        UsageError: a word is not of this form, or a name or a value is given twice.
    """
    values: dict[str, list[str]] = {}
    for word in words:
        flag, equals, text = word.partition("=")
        name = flag.lstrip("-").replace("-", "_")
        listed = text.split(",")
        if not (_SETTING.fullmatch(name) and equals and all(listed)):
            raise UsageError(
                f"--vary takes NAME=VALUE,VALUE,..., such as core.modulation=none,simple, "
                f"not {word!r}"
            )
        if name in NOT_SETTINGS:
            raise UsageError(f"--vary cannot change {name}: it takes settings of the presets")
        if name in values:
            raise UsageError(f"--vary names {name} twice: list all its values after one name")
        if len(set(listed)) < len(listed):
            raise UsageError(f"--vary lists a value of {name} twice: {text}")
        values[name] = listed
    return values


def _trial(preset: str, settings: Mapping[str, str], seed: int, folder: Path) -> Trial:
    flags = (*_flags(preset, settings), "--seed", str(seed))
    labels = [f"{name}={value}" for name, value in settings.items()]
    try:
        config = parse_training(preset, flags)
    except UsageError as error:
        raise UsageError(f"{' '.join([preset, *labels])}: {error}") from error
    folders = [_NOT_IN_FILE_NAMES.sub("_", label) for label in labels]
    if longest := [name for name in folders if len(name) > LONGEST_NAME]:
        raise UsageError(f"--vary: {longest[0][:40]}... is too long for the name of a folder")
    path = folder.joinpath(preset, *folders, f"seed{seed}")
    return Trial(preset, settings, seed, flags, config, path)


def _flags(preset: str, settings: Mapping[str, str]) -> list[str]:
    """The flags that give a preset these settings."""
    # The kind of the core decides which options it has.
    booleans = _boolean_flags(preset, settings.get("core.name"))
    flags, of_env = list[str](), list[str]()
    for name, value in settings.items():
        flag, truth = f"--{name.replace('_', '-')}", TRUTH_VALUES.get(value.lower())
        if name.startswith(ENV_KWARGS):
            of_env.append(f"{name.removeprefix(ENV_KWARGS)}={value}")
        elif flag in booleans and truth is not None:
            flags.append(flag if truth else negated(flag))
        else:
            flags += [flag, *value.split(" ")]  # the parts of a list, as in a2c.net_arch=64 64
    return [*flags, "--env-kwargs", *of_env] if of_env else flags


def _boolean_flags(preset: str, core: str | None) -> list[str]:
    """The flags of a preset's training that are true or false, without their negations."""
    known = flag_paths(training_form(preset, core))
    return [f"--{flag}" for flag in known if negated(f"--{flag}").removeprefix("--") in known]
