"""Changes settings of a run's config, and drops others that the changes make meaningless."""

from dataclasses import fields, replace
from typing import Any

from plasticrl.agents.options import OnPolicyOptions
from plasticrl.agents.training.config import AlgorithmConfig, CurriculumConfig, TrainConfig
from plasticrl.core.cells import vary_core
from plasticrl.runs import UsageError

Settings = dict[str, Any]
"""The values of settings, by name."""


def vary_config(config: TrainConfig, changes: Settings) -> tuple[TrainConfig, Settings]:
    """Change settings of a run, and drop others that the changes make meaningless.

    To drop a setting is to reset it to its default, or to remove it from ``env_kwargs``. A setting
    in ``changes`` is never dropped; the following ones are, unless ``changes`` sets them:

    - With another core, or another value of one of its options: the core's options that have no
      meaning there. Options that both cores have keep their values.
    - With another environment: the old one's ``env_kwargs``, its curriculum, and
      ``entropy="simpson"``, which environments with continuous actions do not support.
    - With another value of the environment's option that the curriculum varies: the curriculum.

    Args:
        config: the config to change, for example that of a preset.
        changes: new values by dotted names, as in ``{"core.modulation": "none", "n_envs": 60}``.
            ``env_kwargs`` are added to those in ``config`` if the environment stays the same.

    Returns:
        The new config, and the old values of the dropped settings, by dotted names.

    Raises:
        OptionError: the core does not have an option, or not with this value.
        UsageError: another setting has an invalid value.
    """
    parts: dict[str, Settings] = {"": {}, "core": {}, config.name: {}, "curriculum": {}}
    for name, value in changes.items():
        part, _, option = name.rpartition(".")
        parts[part][option] = value
    general = parts[""]
    if "env_id" in general:
        from plasticrl.envs import resolve_id  # only here, as it imports Gymnasium

        general["env_id"] = resolve_id(general["env_id"])
    other_env = general.get("env_id", config.env_id) != config.env_id
    env_kwargs = general.pop("env_kwargs", {})
    core, core_dropped = vary_core(config.core, parts["core"])
    algorithm, algorithm_dropped = _vary_algorithm(config.algorithm, parts[config.name], other_env)
    varied = config.curriculum.option or ""
    is_fixed = varied in env_kwargs and env_kwargs[varied] != config.env_kwargs.get(varied)
    curriculum, curriculum_dropped = _vary_curriculum(
        config.curriculum,
        parts["curriculum"],
        is_obsolete=other_env or (is_fixed and "stages" not in parts["curriculum"]),
    )
    dropped = {
        "core": core_dropped,
        "env_kwargs": {
            name: value
            for name, value in config.env_kwargs.items()
            if other_env and name not in env_kwargs
        },
        config.name: algorithm_dropped,
        "curriculum": curriculum_dropped,
    }
    new = replace(
        config,
        **general,
        env_kwargs=env_kwargs if other_env else config.env_kwargs | env_kwargs,
        core=core,
        curriculum=curriculum,
        **{config.name: algorithm},  # type: ignore[arg-type]
    )
    return new, {
        f"{part}.{name}": value
        for part, settings in dropped.items()
        for name, value in settings.items()
    }


def _vary_algorithm(
    algorithm: AlgorithmConfig, changes: Settings, other_env: bool
) -> tuple[AlgorithmConfig, Settings]:
    default = OnPolicyOptions.entropy
    if not other_env or "entropy" in changes or algorithm.entropy == default:
        return replace(algorithm, **changes), {}
    return replace(algorithm, **changes, entropy=default), {"entropy": algorithm.entropy}


def _vary_curriculum(
    curriculum: CurriculumConfig, changes: Settings, is_obsolete: bool
) -> tuple[CurriculumConfig, Settings]:
    option = changes.get("option", None if is_obsolete else curriculum.option)
    start = curriculum if option == curriculum.option else CurriculumConfig()
    if option is None and (others := [name for name in changes if name != "option"]):
        raise UsageError(
            f"curriculum.{others[0]} has no meaning without a curriculum: leave it out, or give "
            "curriculum.option and curriculum.stages"
        )
    new = replace(start, **changes)
    old = {item.name: getattr(curriculum, item.name) for item in fields(curriculum)}
    return new, {
        name: value
        for name, value in old.items()
        if name not in changes and value != getattr(new, name)
    }
