"""Recurrent proximal policy optimization (PPO; Schulman et al. 2017, arXiv 1707.06347).

Each rollout is used for ``n_epochs`` epochs. A minibatch consists of the whole rollouts of some
environments, so only the recurrent state at the start of a rollout has to be stored. With the ratio
r of an action's new to its old probability, the advantage A, the return R and the value estimate V,
the update on a minibatch minimizes

    loss = mean over steps and environments of
           - min(r A, clip(r, 1 - clip_range, 1 + clip_range) A)
           + vf_coef (R - V)^2 + ent_coef * concentration

with the concentration of ``plasticrl.agents.recurrent_a2c``.
"""

from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule
from torch import Tensor

from plasticrl.agents.on_policy import Experience, RecurrentOnPolicyAlgorithm
from plasticrl.agents.options import PPOOptions
from plasticrl.agents.policies import PlasticPolicy


class RecurrentPPO(RecurrentOnPolicyAlgorithm):
    """PPO for policies with a recurrent core.

    Args:
        policy: "PlasticPolicy", "CnnPlasticPolicy", "MultiInputPlasticPolicy", or a subclass of
            ``PlasticPolicy``.
        env: an environment, a vectorized environment, or the id of an environment.
        learning_rate: Adam's step size, or a function of the remaining progress.
        clip_range, clip_range_vf, ent_coef: numbers, or functions of the remaining progress.
        n_steps, batch_size, n_epochs, bptt_length: see ``plasticrl.agents.options.PPOOptions``.
        gamma, gae_lambda, entropy, vf_coef, max_grad_norm: see ``PPOOptions``.
        normalize_advantage, normalize_returns, core_lr_scale: see ``PPOOptions``.
        bootstrap_truncated, target_kl: see ``PPOOptions``.
        stats_window_size, tensorboard_log, policy_kwargs, verbose, seed, device: as in SB3.

    Raises:
        ValueError: for a value outside its range, or a policy that is not a ``PlasticPolicy``.
    """

    options_type = PPOOptions
    batch_size: int
    n_epochs: int
    clip_range: Any
    clip_range_vf: Any
    target_kl: float | None

    def __init__(
        self,
        policy: str | type[PlasticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = PPOOptions.learning_rate,
        n_steps: int = PPOOptions.n_steps,
        batch_size: int = PPOOptions.batch_size,
        n_epochs: int = PPOOptions.n_epochs,
        bptt_length: int | None = PPOOptions.bptt_length,
        gamma: float = PPOOptions.gamma,
        gae_lambda: float = PPOOptions.gae_lambda,
        clip_range: float | Schedule = PPOOptions.clip_range,
        clip_range_vf: float | Schedule | None = PPOOptions.clip_range_vf,
        normalize_advantage: bool = PPOOptions.normalize_advantage,
        normalize_returns: bool = PPOOptions.normalize_returns,
        core_lr_scale: float = PPOOptions.core_lr_scale,
        ent_coef: float | Schedule = PPOOptions.ent_coef,
        entropy: Literal["shannon", "simpson"] = PPOOptions.entropy,
        vf_coef: float = PPOOptions.vf_coef,
        max_grad_norm: float = PPOOptions.max_grad_norm,
        bootstrap_truncated: bool = PPOOptions.bootstrap_truncated,
        target_kl: float | None = PPOOptions.target_kl,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            {
                "learning_rate": learning_rate,
                "n_steps": n_steps,
                "batch_size": batch_size,
                "n_epochs": n_epochs,
                "bptt_length": bptt_length,
                "gamma": gamma,
                "gae_lambda": gae_lambda,
                "clip_range": clip_range,
                "clip_range_vf": clip_range_vf,
                "normalize_advantage": normalize_advantage,
                "normalize_returns": normalize_returns,
                "core_lr_scale": core_lr_scale,
                "ent_coef": ent_coef,
                "entropy": entropy,
                "vf_coef": vf_coef,
                "max_grad_norm": max_grad_norm,
                "bootstrap_truncated": bootstrap_truncated,
                "target_kl": target_kl,
            },
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )

    def _setup_model(self) -> None:
        super()._setup_model()
        self.clip_range = FloatSchedule(self.clip_range)
        if self.clip_range_vf is not None:
            self.clip_range_vf = FloatSchedule(self.clip_range_vf)

    def train(self) -> None:
        """Take gradient steps on minibatches of the rollout.

        Raises:
            DivergedError: if a gradient is not finite; the weights are then those of the gradient
                step before.
        """
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        remaining = self._current_progress_remaining
        clip_range = self.clip_range(remaining)
        clip_range_vf = None if self.clip_range_vf is None else self.clip_range_vf(remaining)
        rollout = self._experience()
        if self.normalize_returns:
            self.policy.rescale_values(self.ranks.gather(rollout.returns))
        n_rows = max(1, self.batch_size // (self.n_steps * self.ranks.world_size))
        steps: list[_Step] = []
        for epoch in range(self.n_epochs):
            self._n_updates += 1
            for rows in torch.split(torch.randperm(self.n_envs), n_rows):
                minibatch = rollout.of(rows.to(self.device))
                losses, ratio = self._losses(minibatch, clip_range, clip_range_vf)
                steps.append(self._step(epoch, losses, ratio, clip_range))
                if self.target_kl is not None and steps[-1].approx_kl > 1.5 * self.target_kl:
                    break
                steps[-1].grad_norm = self._minimize(losses).item()
            else:
                continue
            if self.verbose:
                print(f"stopped in epoch {epoch + 1}: the KL is {steps[-1].approx_kl:.2g}")
            break
        self._log(steps, clip_range, clip_range_vf)

    def _step(
        self, epoch: int, losses: dict[str, Tensor], ratio: Tensor, clip_range: float
    ) -> "_Step":
        return _Step(
            epoch=epoch,
            losses={name: loss.item() for name, loss in losses.items()},
            loss=self._total(losses).item(),
            # Schulman's unbiased estimate of KL(old policy || new policy), as in SB3.
            approx_kl=float(self.ranks.gather((ratio - 1) - ratio.log()).mean()),
            clip_fraction=float(((ratio - 1).abs() > clip_range).float().mean()),
        )

    def _losses(
        self, minibatch: Experience, clip_range: float, clip_range_vf: float | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The losses of a minibatch by name, and the ratios of new to old probabilities (M,)."""
        values, log_probs, distribution = self._evaluate_rollout(
            minibatch.observations,
            minibatch.actions,
            minibatch.start_state,
            minibatch.episode_starts,
            self.bptt_length,
            action_masks=minibatch.action_masks,
        )
        advantages = self._normalized(minibatch.advantages)
        ratio = torch.exp(log_probs - minibatch.log_probs)
        clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
        values = values.flatten()
        if clip_range_vf is not None:
            change = (values - minibatch.values).clamp(-clip_range_vf, clip_range_vf)
            values = minibatch.values + change
        losses = {
            "policy": -torch.min(advantages * ratio, advantages * clipped).mean(),
            "value": F.mse_loss(minibatch.returns, values),
            "entropy": self._concentration(distribution, log_probs).mean(),
        }
        return losses, ratio.detach()

    def _log(self, steps: "list[_Step]", clip_range: float, clip_range_vf: float | None) -> None:
        """Record the means over the gradient steps, under the names of SB3's PPO."""
        last_epoch = [step.approx_kl for step in steps if step.epoch == steps[-1].epoch]
        norms = [step.grad_norm for step in steps if step.grad_norm is not None]
        values = {
            "entropy_loss": _mean([step.losses["entropy"] for step in steps]),
            "policy_gradient_loss": _mean([step.losses["policy"] for step in steps]),
            "value_loss": _mean([step.losses["value"] for step in steps]),
            "approx_kl": _mean(last_epoch),
            "clip_fraction": _mean([step.clip_fraction for step in steps]),
            "loss": steps[-1].loss,
            "clip_range": clip_range,
        }
        if norms:
            values["grad_norm"] = _mean(norms)
        if clip_range_vf is not None:
            values["clip_range_vf"] = clip_range_vf
        self._log_update(values)

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "RecurrentPPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train; see SB3's ``PPO.learn``."""
        options = (log_interval, tb_log_name, reset_num_timesteps, progress_bar)
        return super().learn(total_timesteps, callback, *options)


@dataclass
class _Step:
    """The metrics of a minibatch, for the log."""

    epoch: int
    losses: dict[str, float]
    loss: float
    approx_kl: float
    clip_fraction: float
    grad_norm: float | None = None
    """None if no gradient step was taken, because ``approx_kl`` exceeded its limit."""


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
