"""A trained agent: its run, its config and its policy."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from plasticrl.agents.failures import closing_env
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
    is_ablated: bool = False
    """Whether the policy's plasticity coefficients have been set to zero."""
    damaged: tuple[str, ...] = ()
    """For each checkpoint later than the loaded one, a sentence why it could not be read."""

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "TrainedAgent":
        """Load the agent of a run with the weights of its latest checkpoint.

        Args:
            device: for the policy; the device of the training does not matter.

        Raises:
            RunError: the run is missing, damaged, or not an agent's.
            UsageError: its environment or the device are not available on this machine.
        """
        run, config = open_run(path)
        config = replace(config, device=device)
        check_device(device, "cpu or auto")
        check_run_memory(replace(config, n_envs=1))
        checkpoint = load_latest(run.checkpoints_path)
        with closing_env(build_env(config, 1)) as env:
            model = build_model(config, env)
        with checkpoint_in_errors(checkpoint.path):
            restore_policy(model.policy, checkpoint.content)
        return cls(run, config, model.policy, checkpoint.step, damaged=checkpoint.damaged)

    @property
    def is_plastic(self) -> bool:
        """Whether the policy's core has plastic connections."""
        return self.policy.core.connection is not None

    @torch.no_grad()
    def ablate(self) -> "TrainedAgent":
        """Return a copy of the agent whose plasticity coefficients are zero.

        Raises:
            UsageError: the core has no plastic connections.
        """
        policy = copy.deepcopy(self.policy)
        if policy.core.connection is None:
            raise UsageError(
                f"the core {policy.core_name!r} has no plastic connections that could be ablated"
            )
        policy.core.connection.alpha.zero_()
        return replace(self, policy=policy, is_ablated=True)
