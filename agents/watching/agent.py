"""A trained agent: its run, its config and its policy."""

import copy
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.vec_env import VecNormalize

from plasticrl.agents.failures import closing_env
from plasticrl.agents.normalization import restore_normalization
from plasticrl.agents.policies import PlasticPolicy
from plasticrl.agents.training.building import build_model
from plasticrl.agents.training.config import TrainConfig, open_run
from plasticrl.agents.training.environments import build_env
from plasticrl.agents.training.sizes import check_run_memory
from plasticrl.agents.training.snapshot import checkpoint_in_errors, restore_policy
from plasticrl.runs import RunDirectory, UsageError, check_device, load_latest


@dataclass(frozen=True)
class TrainedAgent:
    """A trained policy, with the run and the config that it comes from."""

    run: RunDirectory
    config: TrainConfig
    policy: PlasticPolicy
    n_timesteps: int
    """Number of environment steps of the training so far."""
    vec_normalize: VecNormalize | None = None
    """Normalizes observations as in the training; None: they are not normalized."""
    is_ablated: bool = False
    """Whether the policy's plasticity coefficients have been set to zero."""
    damaged: tuple[str, ...] = ()
    """For each checkpoint later than the loaded one, the reason why it could not be read."""

    @classmethod
    def load(cls, path: Path, allowed: Collection[str] = (), device: str = "cpu") -> "TrainedAgent":
        """Load the agent of a run with the weights of its latest checkpoint.

        Args:
            allowed: the modules that the run may name, which are imported.
            device: the policy's device; it may differ from that of the training.

        Raises:
            RunError: the run is missing, damaged, or not an agent's.
            UsageError: its environment or the device are not available on this machine.
        """
        run, config = open_run(path, allowed)
        config = replace(config, processes=False, device=device)
        check_device(device, "cpu or auto")
        check_run_memory(replace(config, n_envs=1))
        checkpoint = load_latest(run.checkpoints_path)
        with closing_env(build_env(config, 1)) as env:
            model = build_model(config, env)
        vec_normalize = model.get_vec_normalize_env()
        with checkpoint_in_errors(checkpoint.path):
            restore_policy(model.policy, checkpoint.content)
            saved = checkpoint.content.get("normalization")
            restore_normalization(vec_normalize, saved, config.n_envs)
        return cls(
            run, config, model.policy, checkpoint.step, vec_normalize, damaged=checkpoint.damaged
        )

    @property
    def is_plastic(self) -> bool:
        """Whether the policy's core has plastic connections."""
        return bool(self.policy.core.connections)

    def normalize_obs(self, obs: Any) -> Any:
        """Normalize an observation or a batch as in the training, if it was trained so."""
        return obs if self.vec_normalize is None else self.vec_normalize.normalize_obs(obs)

    @torch.no_grad()
    def ablate(self) -> "TrainedAgent":
        """Return a copy of the agent whose plasticity coefficients are all zero.

        Raises:
            UsageError: the core has no plastic connections.
        """
        policy = copy.deepcopy(self.policy)
        if not self.is_plastic:
            raise UsageError(
                f"the core {self.config.core.name!r} has no plastic connections that could be "
                "ablated"
            )
        for connection in policy.core.connections:
            connection.alpha.zero_()
        return replace(self, policy=policy, is_ablated=True)
