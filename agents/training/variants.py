"""Changes settings of a run's config, and drops settings that no longer have a meaning."""

from dataclasses import fields, replace
from typing import Any

from plasticrl.agents.training.config import A2CConfig, CurriculumConfig, TrainConfig
from plasticrl.core.cells import cell_entry, vary
from plasticrl.core.cells.configs import CellConfig, check_options
from plasticrl.core.plasticity import defaults
from plasticrl.runs import UsageError

Settings = dict[str, Any]
"""Values of settings, by name."""


def vary_config(config: TrainConfig, changes: Settings) -> tuple[TrainConfig, Settings]:
    """Change settings of a run, and drop those that no longer have a meaning after the change.

    A setting in ``changes`` is never dropped. With another core, the options that both cores have
    are kept. With another environment, the options of the old one are dropped, and so are their
    curriculum and Simpson's entropy, which some action spaces do not support. A new value of the
    option that the curriculum changes ends the curriculum.

    Args:
        config: the config to change, for example that of a preset.
        changes: new values by dotted names, as in ``{"core.modulation": "none", "n_envs": 60}``.
            ``env_kwargs`` are merged with those in ``config``.

    Returns:
        The new config, and the old values of the dropped settings by their dotted names.

    Raises:
        OptionError: an option that the core does not have, or an invalid value of one.
        UsageError: an invalid value of any other setting.
    """
    parts: dict[str, Settings] = {"": {}, "core": {}, "a2c": {}, "curriculum": {}}
    for name, value in changes.items():
        part, _, option = name.rpartition(".")
        parts[part][option] = value
    general = parts[""]
    other_env = general.get("env_id", config.env_id) != config.env_id
    env_kwargs = general.pop("env_kwargs", {})
    core, core_dropped = _vary_core(config.core, parts["core"])
    a2c, a2c_dropped = _vary_a2c(config.a2c, parts["a2c"], other_env)
    raised = config.curriculum.option or ""
    ends = raised in env_kwargs and env_kwargs[raised] != config.env_kwargs.get(raised)
    curriculum, curriculum_dropped = _vary_curriculum(
        config.curriculum,
        parts["curriculum"],
        is_obsolete=other_env or (ends and "stages" not in parts["curriculum"]),
    )
    dropped = {
        "core": core_dropped,
        "env_kwargs": {
            name: value
            for name, value in config.env_kwargs.items()
            if other_env and name not in env_kwargs
        },
        "a2c": a2c_dropped,
        "curriculum": curriculum_dropped,
    }
    new = replace(
        config,
        **general,
        env_kwargs=env_kwargs if other_env else config.env_kwargs | env_kwargs,
        core=core,
        a2c=a2c,
        curriculum=curriculum,
    )
    return new, {
        f"{part}.{n}": value for part, names in dropped.items() for n, value in names.items()
    }


def _vary_core(core: CellConfig, changes: Settings) -> tuple[CellConfig, Settings]:
    options = dict(changes)
    form = cell_entry(options.pop("name", core.name)).config
    if form is type(core):
        return vary(core, options)
    check_options(form, options)
    old = {option: getattr(core, option) for option in defaults(type(core))}
    new, dropped = vary(form(**{o: v for o, v in old.items() if o in defaults(form)}), options)
    return new, dropped | {
        option: value
        for option, value in old.items()
        if option not in defaults(form) and value != defaults(type(core))[option]
    }


def _vary_a2c(a2c: A2CConfig, changes: Settings, other_env: bool) -> tuple[A2CConfig, Settings]:
    if not other_env or "entropy" in changes or a2c.entropy == A2CConfig.entropy:
        return replace(a2c, **changes), {}
    return replace(a2c, **changes, entropy=A2CConfig.entropy), {"entropy": a2c.entropy}


def _vary_curriculum(
    curriculum: CurriculumConfig, changes: Settings, is_obsolete: bool
) -> tuple[CurriculumConfig, Settings]:
    option = changes.get("option", None if is_obsolete else curriculum.option)
    start = curriculum if option == curriculum.option else CurriculumConfig()
    if option is None and (needless := [name for name in changes if name != "option"]):
        raise UsageError(
            f"curriculum.{needless[0]} has no meaning without a curriculum: leave it out, or give "
            "curriculum.option and curriculum.stages"
        )
    new = replace(start, **changes)
    old = {item.name: getattr(curriculum, item.name) for item in fields(curriculum)}
    return new, {n: v for n, v in old.items() if n not in changes and v != getattr(new, n)}
