"""Agents on Stable-Baselines3: the algorithm, its policies, and how they are trained and measured.

Names are imported when they are first used: the command line's ``--help`` needs neither torch nor
Stable-Baselines3.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plasticrl.agents.curriculum import Curriculum
    from plasticrl.agents.policies import CnnPlasticPolicy, MultiInputPlasticPolicy, PlasticPolicy
    from plasticrl.agents.recurrent_a2c import RecurrentA2C
    from plasticrl.agents.vec_env import BatchVecEnv, make_vec_env

__all__ = [
    "BatchVecEnv",
    "CnnPlasticPolicy",
    "Curriculum",
    "MultiInputPlasticPolicy",
    "PlasticPolicy",
    "RecurrentA2C",
    "make_vec_env",
]

_HOMES = {
    "BatchVecEnv": "vec_env",
    "CnnPlasticPolicy": "policies",
    "Curriculum": "curriculum",
    "MultiInputPlasticPolicy": "policies",
    "PlasticPolicy": "policies",
    "RecurrentA2C": "recurrent_a2c",
    "make_vec_env": "vec_env",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
