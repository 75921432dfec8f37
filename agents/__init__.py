"""Agents on Stable-Baselines3: the algorithms, their policies, training, evaluation and export.

Names are imported when they are first used, so that ``--help`` on the command line does not have to
import torch and Stable-Baselines3.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plasticrl.agents.checking import check_recurrent
    from plasticrl.agents.curriculum import Curriculum
    from plasticrl.agents.env_util import make_vec_env
    from plasticrl.agents.exporting import export_policy
    from plasticrl.agents.policies import CnnPlasticPolicy, MultiInputPlasticPolicy, PlasticPolicy
    from plasticrl.agents.recurrent_a2c import RecurrentA2C
    from plasticrl.agents.recurrent_ppo import RecurrentPPO
    from plasticrl.agents.vec_env import BatchVecEnv

__all__ = [
    "BatchVecEnv",
    "CnnPlasticPolicy",
    "Curriculum",
    "MultiInputPlasticPolicy",
    "PlasticPolicy",
    "RecurrentA2C",
    "RecurrentPPO",
    "check_recurrent",
    "export_policy",
    "make_vec_env",
]

_MODULES = {
    "BatchVecEnv": "vec_env",
    "CnnPlasticPolicy": "policies",
    "Curriculum": "curriculum",
    "MultiInputPlasticPolicy": "policies",
    "PlasticPolicy": "policies",
    "RecurrentA2C": "recurrent_a2c",
    "RecurrentPPO": "recurrent_ppo",
    "check_recurrent": "checking",
    "export_policy": "exporting",
    "make_vec_env": "env_util",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
