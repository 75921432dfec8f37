"""The observation and action spaces that the algorithms accept."""

from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from torch import nn

from plasticrl.runs import UsageError

MOST_CHOICES = 10**6
"""The largest number of discrete values. The network has a unit for each."""


def check_spaces(observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
    """Raise ``UsageError`` for a space that a policy cannot observe or act in."""
    parts: Any = {"the observation space": observation_space}
    if isinstance(observation_space, spaces.Dict):
        parts = {f"the observation {name!r}": part for name, part in observation_space.items()}
        if not parts:
            raise UsageError("the observation space Dict() is empty")
        for name in observation_space:
            _check_name(name)
    for name, part in parts.items():
        _check(name, part, "Observation")
        if isinstance(part, spaces.Box) and not part.shape:
            raise UsageError(
                f"{_named(name, part)} must have an axis: reshape it to (1,) with "
                "gymnasium.wrappers.ReshapeObservation"
            )
    name = "the action space"
    _check(name, action_space, "Action")
    if isinstance(action_space, spaces.Box) and not action_space.is_bounded():
        raise UsageError(
            f"{_named(name, action_space)} must have finite bounds: give them in the environment, "
            "or with gymnasium.wrappers.TransformAction"
        )
    if isinstance(action_space, spaces.MultiBinary) and len(action_space.shape) != 1:
        raise UsageError(f"{_named(name, action_space)} must have one axis: flatten it")


def _check_name(name: Any) -> None:
    """Raise ``UsageError`` if torch does not accept the key of a Dict as a module's name."""
    try:
        nn.ModuleDict({name: nn.Identity()})
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"the observation {name!r} has a name that torch cannot give to a module: rename it, "
            "for example with gymnasium.wrappers.TransformObservation"
        ) from error


def _check(name: str, space: spaces.Space[Any], kind: Literal["Observation", "Action"]) -> None:
    """Check the requirements that observation and action spaces share."""
    known = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    if not isinstance(space, known):
        way_out = (
            "or one Dict of these: flatten it with gymnasium.wrappers.FlattenObservation, as in "
            "make_vec_env(env_id, wrapper_class=FlattenObservation)"
            if kind == "Observation" and space.is_np_flattenable
            else "use a wrapper that makes one of these"
        )
        raise UsageError(
            f"{name} is a {type(space).__name__}, but must be a Box, Discrete, MultiDiscrete or "
            f"MultiBinary space, {way_out}"
        )
    named, shape = _named(name, space), space.shape or ()
    if 0 in shape:
        raise UsageError(f"{named} is empty")
    if isinstance(space, spaces.MultiDiscrete) and len(shape) != 1:
        raise UsageError(f"{named} must have one axis: flatten it")
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        n_choices = space.n if isinstance(space, spaces.Discrete) else space.nvec.sum()
        if n_choices > MOST_CHOICES:
            raise UsageError(
                f"{named} has {n_choices:,} values, but may have at most {MOST_CHOICES:,}"
            )
        if np.any(space.start):  # SB3 ignores the start
            raise UsageError(
                f"{named} must start at 0: shift it with a wrapper, as "
                f"gymnasium.wrappers.Transform{kind}"
            )


def _named(name: str, space: spaces.Space[Any]) -> str:
    """The name and the space in one line; NumPy prints arrays of a space in several."""
    return f"{name} {' '.join(str(space).split())}"


def check_extractor(
    policy_class: Any, policy_kwargs: dict[str, Any], space: spaces.Space[Any]
) -> None:
    """Raise ``UsageError`` if SB3's features extractor in a policy does not fit the space.

    Args:
        policy_class: ``PlasticPolicy`` or a subclass.
        policy_kwargs: its arguments, which may have a ``features_extractor_class``.
        space: the observation space.
    """
    given = policy_kwargs.get("features_extractor_class")
    extractor = given or policy_class.default_features_extractor
    is_dict = isinstance(space, spaces.Dict)
    is_for_dicts = {CombinedExtractor: True, FlattenExtractor: False, NatureCNN: False}
    fits = is_for_dicts.get(extractor, is_dict) == is_dict
    if fits and extractor is NatureCNN:
        normalized = not policy_kwargs.get("normalize_images", True)
        fits = is_image_space(space, check_channels=False, normalized_image=normalized)
    if not fits:
        name = policy_class.__name__ if given is None else given.__name__
        fitting = "MultiInputPlasticPolicy" if is_dict else "PlasticPolicy"
        raise UsageError(
            f"{_named(f'{name} does not fit the observation space', space)}: use {fitting}"
            + ("" if given is None else " without features_extractor_class")
        )
