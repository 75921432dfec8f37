"""Changes settings of a run's config, and drops settings that no longer have a meaning."""

from dataclasses import replace
from typing import Any

from plasticrl.agents.training.config import CurriculumConfig, TrainConfig
from plasticrl.core.cells import cell_entry, vary
from plasticrl.core.cells.configs import CellConfig, check_options
from plasticrl.core.plasticity import defaults
from plasticrl.runs import UsageError


def vary_config(config: TrainConfig, changes: dict[str, Any]) -> tuple[TrainConfig, dict[str, Any]]:
    """Change settings of a run, and drop those that no longer have a meaning after the change.

    With another kind of core, only the number of units is kept of the old core's options. With
    another environment, the old environment's options and their curriculum are dropped. A setting
    in ``changes`` is never dropped.

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
    parts: dict[str, dict[str, Any]] = {"": {}, "core": {}, "a2c": {}, "curriculum": {}}
    for name, value in changes.items():
        part, _, option = name.rpartition(".")
        parts[part][option] = value
    core, dropped = _vary_core(config.core, parts["core"])
    new = parts[""] | {"core": core, "a2c": _vary_part(config, "a2c", parts["a2c"])}
    if new.get("env_id", config.env_id) == config.env_id:
        new["env_kwargs"] = config.env_kwargs | new.get("env_kwargs", {})
        start = config
    else:
        new["env_kwargs"] = new.get("env_kwargs", {})
        dropped |= {f"env_kwargs.{name}": value for name, value in config.env_kwargs.items()}
        if config.curriculum.option is not None and "option" not in parts["curriculum"]:
            dropped["curriculum.option"] = config.curriculum.option
            dropped["curriculum.stages"] = list(config.curriculum.stages)
        start = replace(config, curriculum=CurriculumConfig())
    new["curriculum"] = _vary_part(start, "curriculum", parts["curriculum"])
    return replace(config, **new), dropped


def _vary_core(core: CellConfig, changes: dict[str, Any]) -> tuple[CellConfig, dict[str, Any]]:
    options = dict(changes)
    name = options.pop("name", core.name)
    if name == core.name:
        new, dropped = vary(core, options)
    else:
        form = cell_entry(name).config
        check_options(form, options)
        new, dropped = _other_core(core, form, options)
    return new, {f"core.{option}": value for option, value in dropped.items()}


def _other_core(
    core: CellConfig, form: type[CellConfig], options: dict[str, Any]
) -> tuple[CellConfig, dict[str, Any]]:
    old = {option: getattr(core, option) for option in defaults(type(core))}
    shared = {o: v for o, v in old.items() if o == "hidden_size" and o in defaults(form)}
    chosen = {o: v for o, v in old.items() if v != defaults(type(core))[o]}
    dropped = {o: v for o, v in chosen.items() if o not in shared and o not in options}
    return form(**(shared | options)), dropped


def _vary_part(config: TrainConfig, part: str, changes: dict[str, Any]) -> Any:
    try:
        return replace(getattr(config, part), **changes)
    except UsageError as error:
        raise UsageError(f"{part}.{error}") from error
