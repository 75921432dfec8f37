"""Gymnasium environments: importing this package registers them (``ENV_IDS``)."""

from plasticrl.envs.arguments import ArgumentError
from plasticrl.envs.bandit import Bandit, BanditBatch
from plasticrl.envs.batch import BatchEnv
from plasticrl.envs.cue_reward import CueReward, CueRewardBatch
from plasticrl.envs.grid_maze import GridMaze, GridMazeBatch
from plasticrl.envs.harlow import Harlow, HarlowBatch
from plasticrl.envs.history import HistoryObservation
from plasticrl.envs.registration import ENV_IDS, register_envs, resolve_id
from plasticrl.envs.scene import Scene, Symbol
from plasticrl.envs.single import SingleEnv
from plasticrl.envs.t_maze import TMaze, TMazeBatch
from plasticrl.envs.transitive_inference import TransitiveInference, TransitiveInferenceBatch
from plasticrl.envs.trials import Trials
from plasticrl.envs.two_step import TwoStep, TwoStepBatch

__all__ = [
    "ENV_IDS",
    "ArgumentError",
    "Bandit",
    "BanditBatch",
    "BatchEnv",
    "CueReward",
    "CueRewardBatch",
    "GridMaze",
    "GridMazeBatch",
    "Harlow",
    "HarlowBatch",
    "HistoryObservation",
    "Scene",
    "SingleEnv",
    "Symbol",
    "TMaze",
    "TMazeBatch",
    "TransitiveInference",
    "TransitiveInferenceBatch",
    "Trials",
    "TwoStep",
    "TwoStepBatch",
    "register_envs",
    "resolve_id",
]

register_envs()
